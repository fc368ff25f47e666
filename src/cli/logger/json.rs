//! A line of the own log as a JSON object: `time`, `level`, `target`, `message`, and what it is about: `rid`, `pool`, `node`.

use std::fmt::Write;

use jiff::Timestamp;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource};

/// The object, without a line end.
pub(super) fn line(time: Timestamp, record: &Record<'_>) -> String {
    let level = record.level().as_str().to_ascii_lowercase();
    let mut line = format!(r#"{{"time":"{time:.3}","level":"{level}","target":"#);
    quote(&mut line, record.target());
    line.push_str(r#","message":"#);
    quote(&mut line, &record.args().to_string());
    // the visitor returns no error
    let _ = record.key_values().visit(&mut Fields(&mut line));
    line.push('}');
    line
}

struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push(',');
        quote(self.0, key.as_str());
        self.0.push(':');
        match value.to_u64() {
            Some(number) => drop(write!(self.0, "{number}")),
            None => quote(self.0, &value.to_string()),
        }
        Ok(())
    }
}

fn quote(line: &mut String, text: &str) {
    line.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use log::{Level, RecordBuilder};

    use super::*;

    #[test]
    fn a_line_has_its_fields_and_nothing_breaks_it() {
        let time = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let fields = [("rid", Value::from("a\"b")), ("attempt", Value::from(2_u64))];
        let mut record = RecordBuilder::new();
        record.level(Level::Warn).target("evenkeel::x").key_values(&fields);
        let text = line(time, &record.args(format_args!("two\nlines \u{1b}[2J")).build());
        assert_eq!(
            text,
            r#"{"time":"2026-01-02T03:04:05.678Z","level":"warn","target":"evenkeel::x","message":"two\nlines \u001b[2J","rid":"a\"b","attempt":2}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
