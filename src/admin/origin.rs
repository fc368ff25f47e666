//! The sender of an order: a page of another site must be none, though a browser on this machine shows it.
//!
//! A browser names the page in `Origin` with every POST, and its relation to the page in `Sec-Fetch-Site`; a program sends
//! neither. A page can have its own name resolve to this machine (DNS rebinding), and is of the same origin then: but its name
//! is in `Host`. So no header of our own is asked for, and `curl -X POST` will do. The names in the certificate of the admin address
//! are its own: nobody else has one for them, and a browser that is led here by another name gets no further than the handshake.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri, header};

use crate::live::Live;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The reason why an order is refused.
pub(super) fn refusal(live: &Live, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    judge(live.material.load().tls.admin_names(), uri, headers)
}

fn judge(own: &[String], uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let Some(host) = host(own, uri, headers) else {
        return Some(
            "the Host of an order must be an IP address, localhost or a name in the certificate, so that a page whose name leads here cannot send it",
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
pub(super) fn read_refusal(live: &Live, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    if refusal(live, uri, headers).is_some() {
        return Some(
            "live data is for programs and for the page of this address: the Host must be an IP address, localhost or a name in the certificate, and the \
             request must not come from a page of another site",
        );
    }
    None
}

/// The reason why the page is refused. A link on another site may lead to it.
pub(super) fn page_refusal(live: &Live, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    if host(live.material.load().tls.admin_names(), uri, headers).is_none() {
        return Some(
            "open the page by the IP address of this machine, as localhost or by a name in its certificate: no other is trusted\n",
        );
    }
    None
}

/// The one host that the request names, if no name server had a say in it.
fn host(own: &[String], uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
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
    let is_own = own.iter().any(|own| is_named(own, name));
    let is_fixed = name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || is_own;
    (named.next().is_none() && is_fixed && !host.as_str().contains('@')).then_some(host)
}

/// A wildcard stands for one label.
fn is_named(own: &str, name: &str) -> bool {
    let below = || own.strip_prefix("*.").zip(name.split_once('.'));
    own.eq_ignore_ascii_case(name) || below().is_some_and(|(own, (_, rest))| own.eq_ignore_ascii_case(rest))
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
            let refused = judge(&[], &Uri::from_static("/"), &headers);
            assert_eq!(refused.is_none(), *passes, "{headers:?}: {refused:?}");
        }
    }

    #[test]
    fn the_authority_of_http2_is_a_host() {
        let none = HeaderMap::new();
        assert!(judge(&[], &Uri::from_static("http://127.0.0.1:9990/"), &none).is_none());
        assert!(judge(&[], &Uri::from_static("http://evil.example/"), &none).is_some());
    }

    #[test]
    fn the_names_of_the_certificate_are_its_own() {
        let own = ["gw.example.org".to_owned(), "*.lab.example".to_owned()];
        for (host, passes) in [
            ("gw.example.org:9990", true),
            ("GW.example.org", true),
            ("a.lab.example", true),
            ("a.b.lab.example", false),
            ("lab.example", false),
            ("example.org", false),
            ("gw.example.org.evil.example", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(judge(&own, &Uri::from_static("/"), &headers).is_none(), passes, "{host}");
        }
    }
}
