//! The syntax of header and trailer lines: fields, tokens, control characters, numbers (RFC 9110 section 5).

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

/// The length of the token at the start. Compares four bytes at a time, which halves the instructions for a
/// usual name.
#[inline]
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

/// The name and value of a field line without its line end; the value keeps surrounding blanks. `None`: not a
/// field line (RFC 9112 section 5), because of a missing colon, a blank before the colon, or folding. The
/// bytes of the value are not checked: see [`control`].
pub(crate) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = line.split_at(token_length(line));
    match rest {
        [b':', value @ ..] if !name.is_empty() => Some((name, value)),
        _ => None,
    }
}

/// The position of the first control character other than HTAB: either the line end, or a character that no
/// line may have (RFC 9110 section 5.5).
#[inline]
pub(crate) fn control(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + control_or_tab(&bytes[from..])?;
        if bytes[at] != b'\t' {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Compares eight bytes at a time: a subtraction sets the high bit of each byte below 0x20, and DEL is mapped
/// to zero first. The borrow may also set high bits of later bytes, but never of earlier ones, and only the
/// first matters.
#[inline]
fn control_or_tab(bytes: &[u8]) -> Option<usize> {
    const EACH: u64 = u64::MAX / 0xff;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let del = word ^ (EACH * 0x7f);
        let found = (word.wrapping_sub(EACH * 0x20) & !word) | (del.wrapping_sub(EACH) & !del);
        let found = found & (EACH * 0x80);
        if found != 0 {
            return Some(8 * number + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(u8::is_ascii_control).map(|at| 8 * words.len() + at)
}

/// Removes surrounding optional blanks: only SP and HTAB (RFC 9110 section 5.6.3).
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Parses digits, and nothing else, to a number that fits (RFC 9110 section 8.6).
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
    fn field_lines() {
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
            let is_control = byte.is_ascii_control() && byte != b'\t';
            for (at, before) in
                [(0, b'a'), (5, b'\t'), (7, b'a'), (8, b'\xff'), (15, b'\x80'), (16, b'\t'), (18, b' ')]
            {
                let mut line = [before; 19];
                line[at..].fill(b'\n');
                line[at] = byte;
                let want = if is_control { Some(at) } else { Some(at + 1).filter(|next| *next < line.len()) };
                assert_eq!(control(&line), want, "{byte} at {at}");
            }
        }
        assert_eq!(control(b"\t\t\t\t\t\t\t\t\t"), None);
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
