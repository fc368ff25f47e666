//! The request as a node gets it: the client's, without what concerned its connection, framed anew.
//!
//! It is written straight from the client's header: to copy that, to change the copy and to write it took a fifth of the
//! instructions of a request (tests/bench/README.md).

use std::io::Write as _;
use std::net::SocketAddr;

use http::header::HOST;
use pingora::http::RequestHeader;

use super::super::headers::{self, FOR_GATEWAY, HopByHop, Sender, put};

/// First capacity, in bytes: more than most headers need.
const USUAL: usize = 1024;

/// The header for a body of `length` bytes, with room for `room` more. The client's has passed `framing::check`.
pub fn header(
    client: &RequestHeader,
    length: usize,
    sender: &Sender,
    request_id: &str,
    node: SocketAddr,
    room: usize,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL + room);
    out.extend_from_slice(client.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(headers::path(client));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let hop_by_hop = HopByHop::of(&client.headers);
    let introduction = headers::introduction(sender, request_id);
    headers::put_those(&mut out, client, |name| {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let is_replaced = || is("content-length") || introduction.iter().any(|(other, _)| is(other));
        !hop_by_hop.has(name) && !FOR_GATEWAY.into_iter().any(is) && !is_replaced()
    });
    if !client.headers.contains_key(HOST) {
        // HTTP/1.1 demands one even for a client that named none, which HTTP/1.0 allows
        let authority = client.uri.authority().map_or_else(|| node.to_string(), ToString::to_string);
        put(&mut out, b"Host", authority.as_bytes());
    }
    if length > 0 || !client.method.is_safe() {
        let _ = write!(out, "Content-Length: {length}\r\n");
    }
    for (name, value) in introduction {
        put(&mut out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut header = RequestHeader::build("POST", path.as_bytes(), None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    /// The lines that a node sees, without those that it always sees.
    fn lines(client: &RequestHeader, length: usize) -> Vec<String> {
        let ip = "192.0.2.1".to_owned();
        let sender = Sender { client: ip.clone(), forwarded_for: ip, proto: "http" };
        let wire = header(client, length, &sender, "id", "10.0.0.7:8000".parse().unwrap(), 0);
        let text = String::from_utf8(wire).unwrap();
        let always = "X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\
                      X-Request-Id: id\r\n\r\n";
        text.strip_suffix(always).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn hop_by_hop_fields_and_those_named_by_connection_stay_behind() {
        let client = request(
            "/v1/completions",
            &[
                ("host", "gpu"),
                ("Connection", "keep-alive, X-Private"),
                ("X-Private", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Connection", "keep-alive"),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
                ("Expect", "100-continue"),
                ("Transfer-Encoding", "chunked"),
                ("Authorization", "Bearer k"),
                ("X-Forwarded-For", "203.0.113.5"),
                ("X-kEPT", "2"),
                ("X-kEPT", "3"),
            ],
        );
        let want = [
            "POST /v1/completions HTTP/1.1",
            "host: gpu",
            "Authorization: Bearer k",
            "X-kEPT: 2",
            "X-kEPT: 3",
            "Content-Length: 12",
        ];
        assert_eq!(lines(&client, 12), want);
    }

    #[test]
    fn connection_cannot_strip_the_host_or_the_length() {
        let client = request("/", &[("Host", "gpu"), ("Connection", "Host, Content-Length")]);
        assert_eq!(lines(&client, 3), ["POST / HTTP/1.1", "Host: gpu", "Content-Length: 3"]);
    }

    #[test]
    fn a_whole_uri_becomes_a_path_and_a_host_is_given() {
        let client = request("http://gpu/v1/models?limit=1", &[]);
        assert_eq!(lines(&client, 0)[0], "POST /v1/models?limit=1 HTTP/1.1");
        assert_eq!(lines(&request("/", &[]), 0)[1..], ["Host: 10.0.0.7:8000", "Content-Length: 0"]);
        let mut get = request("/", &[("Host", "gpu")]);
        get.set_method(http::Method::GET);
        assert_eq!(lines(&get, 0), ["GET / HTTP/1.1", "Host: gpu"]);
    }
}
