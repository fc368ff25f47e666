//! The sender of a request, found from trusted `X-Forwarded-*` fields and passed on to nodes in such fields.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_REAL_IP: &str = "X-Real-IP";
pub const X_REQUEST_ID: &str = "X-Request-Id";
/// The longest request id that is accepted from a client, in bytes.
const REQUEST_ID_MAX: usize = 128;

/// The sender of a request.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The client's address; behind trusted proxies, the one that they report.
    pub client: String,
    /// The value of `X-Forwarded-For` for the node.
    pub forwarded_for: String,
    pub proto: &'static str,
}

impl Sender {
    /// Believes `X-Forwarded-*` only from peers in `trusted`. Of the addresses listed there, the client is
    /// the last one that is not itself trusted.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet], proto: &'static str) -> Self {
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(&ip.to_canonical()));
        let peer = peer.to_canonical();
        if !is_trusted(&peer) {
            let client = peer.to_string();
            return Self { forwarded_for: client.clone(), client, proto };
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
        let named = chain.iter().rev().map_while(|text| text.parse::<IpAddr>().ok());
        let mut client = peer;
        for ip in named {
            client = ip.to_canonical();
            if !is_trusted(&client) {
                break;
            }
        }
        let mut forwarded_for = chain.join(", ");
        if !forwarded_for.is_empty() {
            forwarded_for.push_str(", ");
        }
        forwarded_for.push_str(&peer.to_string());
        let told = headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        let proto = match told {
            Some(b"https") => "https",
            Some(b"http") => "http",
            _ => proto,
        };
        Self { client: client.to_string(), forwarded_for, proto }
    }
}

/// The client's request id if it is visible ASCII and not too long, else a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(X_REQUEST_ID).map(HeaderValue::as_bytes).unwrap_or_default();
    let usable = (1..=REQUEST_ID_MAX).contains(&given.len()) && given.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(given) {
        Ok(text) if usable => text.to_owned(),
        _ => format!("{:032x}", fastrand::u128(..)),
    }
}

/// The suffix of the request id for the `nth` time that a request is sent, counted from 1. An engine that takes the id for
/// its own refuses one that it is still at work on.
pub fn id_suffix(nth: u32) -> String {
    if nth > 1 { format!("-{nth}") } else { String::new() }
}

/// The fields that describe the sender to a node; the request id comes last. They replace the client's fields of the same names.
pub fn introduction<'a>(sender: &'a Sender, request_id: &'a str) -> [(&'static str, &'a str); 4] {
    [
        (X_REAL_IP, &sender.client),
        (X_FORWARDED_FOR, &sender.forwarded_for),
        (X_FORWARDED_PROTO, sender.proto),
        (X_REQUEST_ID, request_id),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_untrusted_peer_is_not_believed() {
        let headers = headers(&[("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "https")]);
        let sender = Sender::of(ip("192.0.2.1"), &headers, &[], "http");
        assert_eq!(
            (&*sender.client, &*sender.forwarded_for, sender.proto),
            ("192.0.2.1", "192.0.2.1", "http")
        );
    }

    #[test]
    fn a_trusted_peer_is_believed_up_to_the_first_stranger() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let fields = [("X-Forwarded-For", "1.1.1.1, 192.0.2.9"), ("X-Forwarded-For", "10.0.0.2")];
        let headers = headers(&fields);
        let sender = Sender::of(ip("::ffff:10.0.0.1"), &headers, &trusted, "http");
        assert_eq!(sender.client, "192.0.2.9");
        assert_eq!(sender.forwarded_for, "1.1.1.1, 192.0.2.9, 10.0.0.2, 10.0.0.1");
    }

    #[test]
    fn request_ids_are_kept_if_they_fit_a_log_line() {
        assert_eq!(request_id(&headers(&[("X-Request-Id", "abc-1")])), "abc-1");
        for unfit in ["", "a b", &"x".repeat(129)] {
            assert_eq!(request_id(&headers(&[("X-Request-Id", unfit)])).len(), 32, "{unfit:?}");
        }
    }
}
