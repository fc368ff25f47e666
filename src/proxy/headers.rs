//! The header fields that go to the node, and those that go back to the client.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use ipnet::IpNet;
use pingora::Result;
use pingora::http::{HeaderNameVariant, RequestHeader, ResponseHeader};

const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_REAL_IP: &str = "X-Real-IP";
/// The transfer coding of a body without a length.
pub const CHUNKED: &str = "chunked";
pub const X_REQUEST_ID: &str = "X-Request-Id";
/// Longest request id that is taken from a client, in bytes.
const REQUEST_ID_MAX: usize = 128;

/// Fields that concern one connection only (RFC 9110 section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Fields of a request that are meant for the gateway.
pub const FOR_GATEWAY: [&str; 2] = ["expect", "proxy-authorization"];

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The client as far as it is known: behind trusted proxies, the one that they name.
    pub client: String,
    /// What `X-Forwarded-For` says to the node.
    pub forwarded_for: String,
    pub proto: &'static str,
}

impl Sender {
    /// Believes `X-Forwarded-*` only from peers in `trusted`, and of the addresses that they name the last one
    /// that is not itself trusted.
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

/// The client's request id if it is one line of visible ASCII, or a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(X_REQUEST_ID).map(HeaderValue::as_bytes).unwrap_or_default();
    let usable = (1..=REQUEST_ID_MAX).contains(&given.len()) && given.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(given) {
        Ok(text) if usable => text.to_owned(),
        _ => format!("{:032x}", fastrand::u128(..)),
    }
}

/// The target for the node. Clients may send a whole URI, which servers are to understand (RFC 9112 section 3.2.2) and
/// not all do.
pub fn path(header: &RequestHeader) -> &[u8] {
    let raw = header.raw_path();
    match header.uri.path_and_query() {
        Some(path) if !raw.starts_with(b"/") && raw.contains(&b':') => path.as_str().as_bytes(),
        _ => raw,
    }
}

/// What a node is told of the sender, whatever the client's fields of these names say.
pub fn introduction<'a>(sender: &'a Sender, request_id: &'a str) -> [(&'static str, &'a str); 4] {
    [
        (X_REAL_IP, &sender.client),
        (X_FORWARDED_FOR, &sender.forwarded_for),
        (X_FORWARDED_PROTO, sender.proto),
        (X_REQUEST_ID, request_id),
    ]
}

/// Takes from a request what concerned the client's connection, on Pingora's own path, which does the framing; an upgrade
/// keeps the two fields that make it one.
pub fn strip_for_node(header: &mut RequestHeader, upgrade: bool) -> Result<()> {
    if path(header) != header.raw_path() {
        let path = path(header).to_vec();
        header.set_raw_path(&path)?;
    }
    for name in connection_fields(&header.headers) {
        let framing = name == TRANSFER_ENCODING;
        let upgrading = upgrade && (name == UPGRADE || name == CONNECTION);
        if !framing && !upgrading {
            header.remove_header(&name);
        }
    }
    for name in FOR_GATEWAY {
        header.remove_header(name);
    }
    if upgrade {
        header.insert_header(CONNECTION, "Upgrade")?;
    }
    Ok(())
}

/// The same for a response on that path; a switch of protocols keeps the two fields that make it one.
pub fn strip_for_client(header: &mut ResponseHeader) {
    let switches = header.status == StatusCode::SWITCHING_PROTOCOLS;
    for name in connection_fields(&header.headers) {
        let framing = name == TRANSFER_ENCODING;
        let switching = switches && (name == UPGRADE || name == CONNECTION);
        if !framing && !switching {
            header.remove_header(&name);
        }
    }
}

/// HTTP/1.1 demands a Host even for a client that did not name one, which HTTP/1.0 allows.
pub fn give_host(header: &mut RequestHeader, node: SocketAddr) -> Result<()> {
    if header.version == Version::HTTP_11 && !header.headers.contains_key(HOST) {
        header.insert_header(HOST, node.to_string())?;
    }
    Ok(())
}

/// Makes a node's response header fit for the client's connection.
pub fn to_client(header: &mut ResponseHeader, client: &RequestHeader) -> Result<()> {
    let bodyless = matches!(header.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if header.status == StatusCode::NO_CONTENT {
        // a client that believed it would wait for a body that never comes (RFC 9110 section 8.6)
        header.remove_header(&CONTENT_LENGTH);
    }
    let connection = connection_fields(&header.headers);
    for name in connection {
        header.remove_header(&name);
    }
    header.set_version(Version::HTTP_11);
    let sized = header.headers.contains_key(CONTENT_LENGTH);
    if !sized && !bodyless && client.version == Version::HTTP_11 {
        header.insert_header(TRANSFER_ENCODING, CHUNKED)?;
    }
    Ok(())
}

/// Adds a field to a header on its way out.
pub fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Adds the fields of a message whose names pass, as they were written.
pub fn put_those(out: &mut Vec<u8>, fields: &impl Fields, passes: impl Fn(&[u8]) -> bool) {
    fields.each(|name, value| {
        let name = match &name {
            HeaderNameVariant::Case(name) => name.as_slice(),
            HeaderNameVariant::Titled(name) => name.as_bytes(),
        };
        if passes(name) {
            put(out, name, value.as_bytes());
        }
    });
}

/// What requests and responses have in common.
pub trait Fields {
    fn each(&self, look: impl FnMut(HeaderNameVariant<'_>, &HeaderValue));
}

impl Fields for RequestHeader {
    fn each(&self, mut look: impl FnMut(HeaderNameVariant<'_>, &HeaderValue)) {
        // never an error: the closure gives none
        let _ = self.map(|name, value| {
            look(name, value);
            Ok(())
        });
    }
}

impl Fields for ResponseHeader {
    fn each(&self, mut look: impl FnMut(HeaderNameVariant<'_>, &HeaderValue)) {
        let _ = self.map(|name, value| {
            look(name, value);
            Ok(())
        });
    }
}

/// Which fields of a message concern one connection only.
pub struct HopByHop<'a> {
    /// Those that `Connection` names.
    named: Vec<&'a str>,
}

impl<'a> HopByHop<'a> {
    pub fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let names = lines.flat_map(|line| line.split(',')).map(str::trim);
        // what frames and addresses the message is not for a client to strip
        let is_kept =
            |name: &&str| !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("content-length");
        Self { named: names.filter(is_kept).collect() }
    }

    pub fn has(&self, name: &[u8]) -> bool {
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        HOP_BY_HOP.iter().any(is) || self.named.iter().any(is)
    }
}

/// The names of all fields of this message that concern one connection only.
fn connection_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let hop_by_hop = HopByHop::of(headers);
    headers.keys().filter(|name| hop_by_hop.has(name.as_str().as_bytes())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut header = RequestHeader::build("POST", b"/v1/completions", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_untrusted_peer_is_not_believed() {
        let headers =
            request(&[("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "https")]).headers.clone();
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
        let headers = request(&fields).headers.clone();
        let sender = Sender::of(ip("::ffff:10.0.0.1"), &headers, &trusted, "http");
        assert_eq!(sender.client, "192.0.2.9");
        assert_eq!(sender.forwarded_for, "1.1.1.1, 192.0.2.9, 10.0.0.2, 10.0.0.1");
    }

    #[test]
    fn request_ids_are_kept_if_they_are_fit_for_a_line() {
        assert_eq!(request_id(&request(&[("X-Request-Id", "abc-1")]).headers), "abc-1");
        for unfit in ["", "a b", &"x".repeat(129)] {
            assert_eq!(request_id(&request(&[("X-Request-Id", unfit)]).headers).len(), 32, "{unfit:?}");
        }
    }

    #[test]
    fn a_response_without_a_length_is_chunked_for_http_1_1_only() {
        let respond = |version| {
            let mut client = request(&[]);
            client.set_version(version);
            let mut header = ResponseHeader::build(200, None).unwrap();
            header.append_header("Connection", "close, X-Hop").unwrap();
            header.append_header("X-Hop", "1").unwrap();
            to_client(&mut header, &client).unwrap();
            let names: Vec<_> = header.headers.keys().map(ToString::to_string).collect();
            names
        };
        assert_eq!(respond(Version::HTTP_11), ["transfer-encoding"]);
        assert!(respond(Version::HTTP_10).is_empty());
        assert!(respond(Version::HTTP_2).is_empty());
    }
}
