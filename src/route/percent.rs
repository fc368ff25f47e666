//! Percent-encoding (RFC 3986 section 2.1).

/// Without percent-encoding.
pub fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.filter(|_| byte == b'%').and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &after[2..];
            }
            None => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// As one segment of a path: all but letters, digits and `-._~` is encoded.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(encoded("[::1]:80/a b"), "%5B%3A%3A1%5D%3A80%2Fa%20b");
        for text in ["10.0.0.1:8000", "\u{e4}/%", "", "?#&"] {
            assert_eq!(decoded(&encoded(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_code_stays() {
        for (text, want) in [
            ("a%2Fb%5f", Some("a/b_")),
            ("%zz%4", Some("%zz%4")),
            ("%C3%A4", Some("\u{e4}")),
            ("%ff", None),
            ("", Some("")),
        ] {
            assert_eq!(decoded(text).as_deref(), want, "{text}");
        }
    }
}
