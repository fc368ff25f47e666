//! Hop-by-hop fields (RFC 9110 section 7.6.1): they concern one connection only, and are not forwarded.

use super::fields::has_token;

/// The standard hop-by-hop fields, and those that `Connection` names.
#[derive(Clone, Debug)]
pub struct HopByHop<'a> {
    /// The value of the first `Connection` field; messages rarely have a second.
    first: &'a [u8],
    more: Vec<&'a [u8]>,
}

impl<'a> HopByHop<'a> {
    pub fn of(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut lines =
            fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"connection")).map(|(_, value)| value);
        Self { first: lines.next().unwrap_or_default(), more: lines.collect() }
    }

    pub fn has(&self, name: &[u8]) -> bool {
        is_always(name) || self.names(name) && !is_kept(name)
    }

    fn names(&self, name: &[u8]) -> bool {
        !self.first.is_empty() && has_token(self.first, name)
            || self.more.iter().any(|list| has_token(list, name))
    }
}

/// Always hop-by-hop. `Proxy-Connection` is in no standard; it is stripped for the reason given in RFC 9112
/// section C.2.2.
fn is_always(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        2 => is("te"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        _ => false,
    }
}

/// A client must not have the fields stripped that frame and address a message.
fn is_kept(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"content-length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(connections: &[&'static str]) -> HopByHop<'static> {
        let fields: Vec<_> = connections.iter().map(|value| (&b"Connection"[..], value.as_bytes())).collect();
        HopByHop::of(fields.into_iter())
    }

    #[test]
    fn the_fields_of_a_connection() {
        let always = [
            "Connection",
            "keep-alive",
            "Proxy-Authenticate",
            "PROXY-CONNECTION",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
        ];
        for name in always {
            assert!(of(&[]).has(name.as_bytes()), "{name}");
        }
        for name in ["Host", "Content-Length", "Date", "Via", "Trailers", "X-Hop", ""] {
            assert!(!of(&[]).has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_fields_that_connection_names() {
        let table: [(&[&'static str], &str, bool); 8] = [
            (&["close, X-Hop"], "x-hop", true),
            (&["close", "a ,\tX-Hop"], "X-HOP", true),
            (&["close", "a", "X-Hop"], "X-HOP", true),
            (&["close, X-Hop2"], "X-Hop", false),
            (&["Host, Content-Length"], "host", false),
            (&["Host, Content-Length"], "Content-Length", false),
            (&["close", "content-length"], "Content-Length", false),
            (&["close,"], "", true),
        ];
        for (connections, name, has) in table {
            assert_eq!(of(connections).has(name.as_bytes()), has, "{connections:?} {name}");
        }
    }
}
