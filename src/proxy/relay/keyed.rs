//! The head of a request for a node that has a key of its own.

use super::super::upstream::target::CREDENTIALS;
use crate::http1::put_field;

/// Room for the name of the field, and for what each attempt appends, in bytes.
const APPENDED: usize = 160;

/// The lines of a head as nodes get it, each with the name of its field; the first has none.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
    head.split_inclusive(|byte| *byte == b'\n').enumerate().map(|(at, line)| {
        let end = if at == 0 { None } else { memchr::memchr(b':', line) };
        (end.map(|end| &line[..end]), line)
    })
}

/// The same head with the node's own key in place of the client's.
pub(super) fn with_key(head: &[u8], key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + key.len() + APPENDED);
    let is_credential =
        |name: &[u8]| CREDENTIALS.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
    for (name, line) in lines(head) {
        if !name.is_some_and(is_credential) {
            out.extend_from_slice(line);
        }
        if name.is_none() {
            put_field(&mut out, b"Authorization", key);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_the_place_of_all_credentials() {
        let head = b"POST /a:b HTTP/1.1\r\nAuthorization: Bearer c\r\nHost: x\r\nX-API-Key: c\r\napi-key: c\r\nauthorization: c\r\nX-Request-Id: 1\r\n";
        let keyed = with_key(head, b"Bearer n");
        let want = "POST /a:b HTTP/1.1\r\nAuthorization: Bearer n\r\nHost: x\r\nX-Request-Id: 1\r\n";
        assert_eq!(String::from_utf8_lossy(&keyed), want);
    }
}
