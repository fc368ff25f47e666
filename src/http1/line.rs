//! The lines of a head and of a trailer section, and the bytes that may stand in them (RFC 9110 section 5).

/// `tchar` of RFC 9110 section 5.6.2, by byte.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// The length of the token at the beginning. Four bytes at a time, which halves the instructions for the usual name.
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    let is_token = |byte: &u8| TOKEN[usize::from(*byte)];
    let (blocks, _) = bytes.as_chunks::<4>();
    let mut length = 0;
    for [a, b, c, d] in blocks {
        if !(is_token(a) & is_token(b) & is_token(c) & is_token(d)) {
            break;
        }
        length += 4;
    }
    while bytes.get(length).is_some_and(is_token) {
        length += 1;
    }
    length
}

/// Name and value of a field line without its line end, the value with the blanks around it. `None`: it is none
/// (RFC 9112 section 5): no colon, a blank before the colon, a folded line. The bytes of the value are not judged:
/// see [`has_control`].
pub(crate) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = line.split_at(token_length(line));
    match rest {
        [b':', value @ ..] if !name.is_empty() => Some((name, value)),
        _ => None,
    }
}

/// A control character other than HTAB is there, which no line may have (RFC 9110 section 5.5).
pub(crate) fn has_control(line: &[u8]) -> bool {
    has_any(line, |byte| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f))
}

/// The same for lines whose ends were judged before.
pub(crate) fn has_control_but_line_ends(lines: &[u8]) -> bool {
    let is_blank = |byte| u8::from(byte == b'\t') | u8::from(byte == b'\r') | u8::from(byte == b'\n');
    has_any(lines, |byte| u8::from(byte < b' ') & !is_blank(byte) | u8::from(byte == 0x7f))
}

/// Some byte has the property, which is 1 or 0. In blocks, each without an early end: that becomes vector instructions.
#[inline(always)]
fn has_any(bytes: &[u8], property: impl Fn(u8) -> u8) -> bool {
    let (blocks, rest) = bytes.as_chunks::<32>();
    blocks.iter().any(|block| block.iter().fold(0, |found, byte| found | property(*byte)) != 0)
        || rest.iter().any(|byte| property(*byte) != 0)
}

/// Without the optional blanks around it: SP and HTAB only (RFC 9110 section 5.6.3).
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits only, and a number that fits (RFC 9110 section 8.6).
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        (digit < 10).then(|| number.checked_mul(10)?.checked_add(digit)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_field_line_is() {
        type Case = (&'static [u8], Option<(&'static [u8], &'static [u8])>);
        let table: [Case; 9] = [
            (b"Host: a", Some((b"Host", b" a"))),
            (b"a:", Some((b"a", b""))),
            (b"a:\t b c \t", Some((b"a", b"\t b c \t"))),
            (b"a b: c", None),
            (b"a : c", None),
            (b" a: c", None),
            (b": c", None),
            (b"no colon", None),
            (b"", None),
        ];
        for (line, want) in table {
            assert_eq!(field(line), want, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_token_ends_anywhere() {
        for byte in 0..=255_u8 {
            let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            for at in 0..9 {
                let mut line = *b"abcdefghi";
                line[at] = byte;
                assert_eq!(token_length(&line), if is_token { 9 } else { at }, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn control_characters() {
        for byte in 0..=255_u8 {
            let (control, line_end) = (byte.is_ascii_control() && byte != b'\t', b"\r\n".contains(&byte));
            for at in [0, 5, 31, 32, 69] {
                let mut line = [b'a'; 70];
                line[at] = byte;
                assert_eq!(has_control(&line), control, "{byte} at {at}");
                assert_eq!(has_control_but_line_ends(&line), control && !line_end, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn only_blanks_are_trimmed() {
        for (value, want) in
            [(&b" \ta b\t "[..], &b"a b"[..]), (b" ", b""), (b"", b""), (b"\x0ca", b"\x0ca"), (b"a", b"a")]
        {
            assert_eq!(trim(value), want, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn numbers() {
        let good: [(&[u8], u64); 4] =
            [(b"0", 0), (b"007", 7), (b"42", 42), (b"18446744073709551615", u64::MAX)];
        for (digits, want) in good {
            assert_eq!(number(digits), Some(want), "{}", digits.escape_ascii());
        }
        for bad in
            [&b""[..], b"+3", b"-3", b"0x3", b"3 ", b"3,3", b"18446744073709551616", b"99999999999999999999"]
        {
            assert_eq!(number(bad), None, "{}", bad.escape_ascii());
        }
    }
}
