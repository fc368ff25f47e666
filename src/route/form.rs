//! A field of a multipart form (RFC 7578), such as an upload's.

use memchr::memmem;

/// The boundary that a Content-Type names, if it is a form's.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The value of the last field with this name, as far as fields stand whole in `bytes`, which may be the beginning of a form only: of
/// several, engines take the last.
pub(super) fn field<'a>(bytes: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    fields(bytes, boundary, name).last()
}

/// The values of all fields with this name. Files are none.
pub(super) fn fields<'a>(bytes: &'a [u8], boundary: &str, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let inner = [b"\r\n", &delimiter[..]].concat();
    let mut rest = memmem::find(bytes, &delimiter).map_or(&[][..], |at| &bytes[at + delimiter.len()..]);
    let part = move || {
        let line_end = memmem::find(rest, b"\r\n")?;
        let part = &rest[line_end..];
        // a part without fields of its own begins with the empty line
        let head_end = memmem::find(part, b"\r\n\r\n")?;
        let (head, body) = (&part[..head_end], &part[head_end + b"\r\n\r\n".len()..]);
        let end = memmem::find(body, &inner)?;
        rest = &body[end + inner.len()..];
        Some((head, &body[..end]))
    };
    let name = name.to_owned();
    std::iter::from_fn(part).filter(move |(head, _)| is_named(head, &name)).map(|(_, value)| value)
}

fn is_named(head: &[u8], name: &str) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut dispositions = fields.filter(|(field, _)| field.eq_ignore_ascii_case("content-disposition"));
    dispositions.any(|(_, value)| {
        value.split_once(';').is_some_and(|(_, parameters)| {
            parameter(parameters, "name") == Some(name) && parameter(parameters, "filename").is_none()
        })
    })
}

/// The value of a parameter (RFC 9110 section 5.6.6), without its quotes.
fn parameter<'a>(mut text: &'a str, wanted: &str) -> Option<&'a str> {
    loop {
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest
                .split_once(';')
                .map_or((rest.trim(), ""), |(value, _)| (value.trim(), &rest[value.len()..])),
        };
        if name.trim_start_matches([';', ' ', '\t']).trim_end().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        for (text, want) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"; x=y", Some("a b")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=b", None),
            ("application/json; boundary=b", None),
        ] {
            assert_eq!(boundary(text), want, "{text}");
        }
    }

    #[test]
    fn fields_of_a_form() {
        let part = |disposition: &str, value: &str| {
            format!(
                "--b\r\nContent-Type: x\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{value}\r\n"
            )
        };
        let file = part("name=\"file\"; filename=\"; name=model\"", "--a\r\n--c");
        let model = part("name=\"model\"", "whisper");
        for (form, want) in [
            (format!("{model}{file}--b--\r\n"), Some("whisper")),
            (format!("preamble\r\n{file}{model}--b--\r\n"), Some("whisper")),
            (format!("{file}{}--b--", part("name=model", "x")), Some("x")),
            (format!("{file}--b--\r\n"), None),
            (format!("{}{model}--b--\r\n", part("name=\"model\"", "first")), Some("whisper")),
            (format!("{}--b--\r\n", part("name=\"model\"; filename=\"a\"", "x")), None),
            (model.clone(), None),
            ("--b\r\n\r\nx\r\n--b--".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(field(form.as_bytes(), "b", "model"), want.map(str::as_bytes), "{form}");
        }
    }
}
