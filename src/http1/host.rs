//! The value of Host: `uri-host [":" port]` (RFC 9110 section 7.2).

use std::net::Ipv6Addr;

/// The value, without surrounding blanks, names a host; or it is empty, as of a request that has none to name. Of the
/// characters that RFC 3986 allows in a name, those that lists and parameters are made of are refused: no name has them.
pub(crate) fn is_host(value: &[u8]) -> bool {
    if let Some(address) = value.strip_prefix(b"[") {
        let Some(end) = address.iter().position(|byte| *byte == b']') else { return false };
        let address = std::str::from_utf8(&address[..end]).ok();
        // a zone is none of the gateway's business
        let address = address.map(|address| address.split_once('%').map_or(address, |(address, _)| address));
        let is_address = address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        return is_address && is_port(&value[end + "[]".len()..]);
    }
    let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    is_name(&value[..end]) && is_port(&value[end..])
}

fn is_name(name: &[u8]) -> bool {
    let mut last = b'.';
    for (at, &byte) in name.iter().enumerate() {
        let fits = match byte {
            b'.' => last != b'.',
            b'%' => name.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)),
            b'-' | b'_' | b'~' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return false;
        }
        last = byte;
    }
    true
}

/// Nothing, or a colon and a number, which may be missing.
fn is_port(rest: &[u8]) -> bool {
    match rest {
        [] | [b':'] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts() {
        for host in [
            "",
            "a",
            "A-1.b_c.example.",
            "10.0.0.1:80",
            "a:",
            "a:65535",
            "[::1]",
            "[::1]:80",
            "[fe80::1%25eth0]:1",
            "%41~b",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b", "a\tb", "a/b", "http://a", "..", "a..b", ".a", "::1", "a:x", "a:1:2", "a:123456", "a?b",
            "a#b", "[::1", "[a]", "[::1]x", "<a>", "a\"b", "a\\b", "a;b,c", "a@b", "%4", "%zz", "\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
