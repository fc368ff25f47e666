//! Tables as CSV (RFC 4180), for spreadsheets.

/// One line. A field that a spreadsheet would take for a formula gets an apostrophe: some fields are a client's own words.
pub(super) fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(field).collect();
    fields.join(",") + "\r\n"
}

fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_breaks_a_line_or_is_computed() {
        for (fields, want) in [
            (&["a", "", "1.5"][..], "a,,1.5\r\n"),
            (&["a,b", "say \"no\"", "two\r\nlines"], "\"a,b\",\"say \"\"no\"\"\",\"two\r\nlines\"\r\n"),
            (&["=1+1", "@x", "-cmd", "-1.5"], "'=1+1,'@x,'-cmd,-1.5\r\n"),
        ] {
            assert_eq!(line(fields.iter().copied()), want);
        }
    }
}
