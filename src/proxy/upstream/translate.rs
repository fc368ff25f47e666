//! Heads between the two versions of HTTP: the gateway has its own as HTTP/1 writes them, nodes of HTTP/2 want theirs (RFC 9113
//! section 8.3).

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, response};

use super::target::CREDENTIALS;
use crate::http1::{Fields, Rejection, ResponseHead, request_fields};

/// The most fields of a response.
const FIELDS_MAX: usize = 256;
/// The longest target, in bytes.
const TARGET_MAX: usize = 65_000;
/// The answer to a request that has another form in HTTP/1 alone.
pub(super) const UNSAYABLE: Rejection =
    Rejection { status: 400, message: "the request cannot be sent to the pool's nodes by HTTP/2" };
/// The answer to one whose target grows too long when it is encoded.
const TARGET_TOO_LONG: Rejection = Rejection {
    status: 414,
    message: "the request's target is too long for the pool's nodes, encoded for HTTP/2",
};

/// The request of this head. An error is the client's.
pub(super) fn request_of(head: &[u8], is_secure: bool) -> Result<Request<()>, &'static Rejection> {
    let target = head.split(|byte| *byte == b' ').nth(1).ok_or(&UNSAYABLE)?;
    let path = path(target)?;
    request_for(head, path, is_secure).ok_or(&UNSAYABLE)
}

fn request_for(head: &[u8], path: PathAndQuery, is_secure: bool) -> Option<Request<()>> {
    let method = Method::from_bytes(head.split(|byte| *byte == b' ').next()?).ok()?;
    let mut request = Request::new(());
    let mut authority = None;
    for (name, value) in request_fields(head) {
        let mut value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
        let name = HeaderName::from_bytes(name).ok()?;
        if name == HOST {
            authority = authority.or_else(|| Authority::try_from(value.as_bytes()).ok());
            continue;
        }
        if name == TRANSFER_ENCODING {
            // frames tell where the body ends (RFC 9113 section 8.2.2)
            continue;
        }
        // then it is in no table that the connection's other requests share
        value.set_sensitive(CREDENTIALS.contains(&name.as_str()));
        request.headers_mut().append(name, value);
    }
    let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
    let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    (*request.method_mut(), *request.uri_mut()) = (method, uri.build().ok()?);
    Some(request)
}

/// The target; bytes that may not stand in one are encoded.
fn path(target: &[u8]) -> Result<PathAndQuery, &'static Rejection> {
    if target.len() > TARGET_MAX {
        return Err(&TARGET_TOO_LONG);
    }
    if let Ok(path) = PathAndQuery::try_from(target) {
        return Ok(path);
    }
    let mut encoded = String::new();
    for byte in target {
        match byte {
            b'!' | b'$'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'z' | b'~' => encoded.push(char::from(*byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    if encoded.len() > TARGET_MAX {
        return Err(&TARGET_TOO_LONG);
    }
    PathAndQuery::try_from(encoded).map_err(|_| &UNSAYABLE)
}

/// The head of this response, whose end HTTP/2 itself marks. `None`: it has too many fields.
pub(super) fn response_of(parts: &response::Parts) -> Option<ResponseHead> {
    if parts.headers.len() > FIELDS_MAX {
        return None;
    }
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let reason = parts.status.canonical_reason().unwrap_or_default();
    Some(ResponseHead {
        status: parts.status.as_u16(),
        is_http10: false,
        reason: bytes::Bytes::from_static(reason.as_bytes()),
        fields: Fields::of(fields),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_http1_is_one_of_http2() {
        let head = b"POST /v1/a?b=c HTTP/1.1\r\nHost: x.example:8\r\nAuthorization: Bearer k\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\n";
        let request = request_of(head, true).unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string()),
            (&Method::POST, "https://x.example:8/v1/a?b=c".into())
        );
        let fields: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            fields,
            [("authorization", "Bearer k"), ("x-a", "1"), ("x-a", "2"), ("content-length", "3")]
        );
        assert!(request.headers()["authorization"].is_sensitive());
    }

    #[test]
    fn any_target_and_host_that_http1_allows() {
        for (target, host, want) in [
            ("*", "x", "http://x*"),
            ("/a<b>`c?d#e", "x", "http://x/a%3Cb%3E%60c?d%23e"),
            ("/a\u{e4}", "x", "http://x/a\u{e4}"),
            ("/", "", "http://localhost/"),
            ("/", "[::1]:1", "http://[::1]:1/"),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let request = request_of(head.as_bytes(), false).unwrap_or_else(|_| panic!("{target} {host}"));
            assert_eq!(request.uri().to_string(), want);
        }
    }

    #[test]
    fn a_request_that_http2_cannot_say_is_the_clients_error() {
        let long = "x".repeat(TARGET_MAX);
        let grows = "<".repeat(22 * 1024);
        for (head, want) in [
            (format!("GET /{grows} HTTP/1.1\r\nHost: x\r\n\r\n"), Err(414)),
            (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), Err(414)),
            (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", &long[1..]), Ok(TARGET_MAX)),
            (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "<".repeat(21 * 1024)), Ok(3 * 21 * 1024 + 1)),
            ("G\u{e4}T / HTTP/1.1\r\n\r\n".into(), Err(400)),
            ("GET".into(), Err(400)),
        ] {
            let request = request_of(head.as_bytes(), true);
            let got = request.map(|request| request.uri().path().len()).map_err(|why| why.status);
            assert_eq!(got, want, "{}", &head[..head.len().min(40)]);
        }
    }

    #[test]
    fn a_response_of_http2_is_one_of_http1() {
        let response =
            http::Response::builder().status(404).header("A", "1").header("a", "2").body(()).unwrap();
        let head = response_of(&response.into_parts().0).unwrap();
        assert_eq!((head.status, &*head.reason), (404, &b"Not Found"[..]));
        assert_eq!(head.fields.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"1"[..]), (b"a", b"2")]);
    }
}
