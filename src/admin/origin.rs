//! The sender of an order: a page of another site must be none, though a browser on this machine shows it.
//!
//! A browser names the page in `Origin` with every POST, and its relation to the page in `Sec-Fetch-Site`; a program sends
//! neither. A page can have its own name resolve to this machine (DNS rebinding), and is of the same origin then: but its name
//! is in `Host`. So no header of our own is asked for, and `curl -X POST` will do.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The reason why an order is refused.
pub(super) fn refusal(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let Some(host) = host(uri, headers) else {
        return Some(
            "the Host of an order must be an IP address or localhost, so that a page whose name leads here cannot send it",
        );
    };
    let is_own = |origin: &[u8]| {
        let own = ["http://", "https://"].map(|scheme| format!("{scheme}{host}"));
        own.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(origin))
    };
    if !headers.get_all(header::ORIGIN).iter().all(|origin| is_own(origin.as_bytes())) {
        return Some(
            "the Origin of an order must be the admin address, or missing: pages of other sites may not send it",
        );
    }
    let is_close = |site: &[u8]| matches!(site, b"same-origin" | b"none");
    if !headers.get_all(SEC_FETCH_SITE).iter().all(|site| is_close(site.as_bytes())) {
        return Some("Sec-Fetch-Site says that a page of another site sent the order");
    }
    None
}

/// The reason why live data is refused: a page of another site could show it to its maker.
pub(super) fn read_refusal(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    if refusal(uri, headers).is_some() {
        return Some(
            "live data is for programs and for the page of this address: the Host must be an IP address or localhost, and the \
             request must not come from a page of another site",
        );
    }
    None
}

/// The reason why the page is refused. A link on another site may lead to it.
pub(super) fn page_refusal(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    if host(uri, headers).is_none() {
        return Some(
            "open the page by the IP address of this machine or as localhost: no other name is trusted\n",
        );
    }
    None
}

/// The one host that the request names, if no name server had a say in it.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), uri.authority()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok()?,
        (None, Some(authority)) => authority.clone(),
        (Some(host), Some(authority)) if host.as_bytes() == authority.as_str().as_bytes() => {
            authority.clone()
        }
        _ => return None,
    };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let is_fixed = name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost");
    (named.next().is_none() && is_fixed && !host.as_str().contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        type Row<'a> = (&'a [(&'static str, &'static str)], bool);
        let table: &[Row] = &[
            (&[("host", "127.0.0.1:9990")], true),
            (&[("host", "localhost:8080")], true),
            (&[("host", "LOCALHOST")], true),
            (&[("host", "[::1]:9990")], true),
            (&[("host", "127.0.0.1:9990"), ("origin", "http://127.0.0.1:9990")], true),
            (
                &[
                    ("host", "localhost:1"),
                    ("origin", "http://localhost:1"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (&[("host", "127.0.0.1:9990"), ("sec-fetch-site", "none")], true),
            // a form, a script, a file and a frame without an origin of its own
            (&[("host", "127.0.0.1:9990"), ("origin", "https://evil.example")], false),
            (&[("host", "127.0.0.1:9990"), ("origin", "null")], false),
            (&[("host", "127.0.0.1:9990"), ("sec-fetch-site", "cross-site")], false),
            // another port of this machine is the same site, but another origin
            (&[("host", "localhost:9990"), ("origin", "http://localhost:8080")], false),
            (&[("host", "localhost:9990"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "127.0.0.1:9990"), ("origin", "http://127.0.0.1:9990.evil.example")], false),
            (
                &[
                    ("host", "127.0.0.1:9990"),
                    ("origin", "http://127.0.0.1:9990"),
                    ("origin", "http://evil.example"),
                ],
                false,
            ),
            // a name that was made to lead here
            (&[("host", "evil.example:9990"), ("origin", "http://evil.example:9990")], false),
            (&[("host", "evil.example:9990"), ("sec-fetch-site", "same-origin")], false),
            (&[("host", "127.0.0.1.evil.example")], false),
            (&[("host", "localhost.evil.example")], false),
            (&[("host", "127.0.0.1:9990"), ("host", "evil.example")], false),
            (&[("host", "evil.example@127.0.0.1")], false),
            (&[("host", "")], false),
            (&[], false),
        ];
        for (fields, passes) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let refused = refusal(&Uri::from_static("/"), &headers);
            assert_eq!(refused.is_none(), *passes, "{headers:?}: {refused:?}");
        }
    }

    #[test]
    fn the_authority_of_http2_is_a_host() {
        let none = HeaderMap::new();
        assert!(refusal(&Uri::from_static("http://127.0.0.1:9990/"), &none).is_none());
        assert!(refusal(&Uri::from_static("http://evil.example/"), &none).is_some());
    }
}
