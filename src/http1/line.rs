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

/// The length of the token at the beginning.
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !TOKEN[*byte as usize]).unwrap_or(bytes.len())
}

/// Name and value of a field line without its line end; the value without the blanks around it. `None`: it is none
/// (RFC 9112 section 5): no colon, a blank before the colon, a folded line. The bytes of the value are not judged:
/// see [`has_control`].
pub(crate) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = token_length(line);
    let (name, rest) = line.split_at(length);
    match rest {
        [b':', value @ ..] if length > 0 => Some((name, trim(value))),
        _ => None,
    }
}

/// A control character other than HTAB is there, which no line may have (RFC 9110 section 5.5). Without an early end:
/// this becomes vector instructions.
pub(crate) fn has_control(line: &[u8]) -> bool {
    line.iter().fold(false, |found, byte| found | (*byte < b' ') & (*byte != b'\t') | (*byte == 0x7f))
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
            (b"Host: a", Some((b"Host", b"a"))),
            (b"a:", Some((b"a", b""))),
            (b"a:\t b c \t", Some((b"a", b"b c"))),
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
    fn control_characters() {
        for byte in 0..=255_u8 {
            let want = byte.is_ascii_control() && byte != b'\t';
            assert_eq!(has_control(&[b'a', byte, b'b']), want, "{byte}");
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
