//! Finds the line of a value in a config file.
//!
//! For problems that show up only after parsing, such as a port in use.

use std::path::Path;

use super::problems::{Collector, Problem, Problems};
use super::raw::{self, Raw, Value};

/// The line of the value at this path, such as `server.listen[1]`, counted from 1. Keys that contain a dot
/// are not supported.
pub fn line_of(text: &str, path: &str) -> Option<usize> {
    let mut raw = &raw::parse(text, &Collector::default())?;
    for step in path.split('.') {
        let (key, index) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((key, index)) => (key, Some(index.parse::<usize>().ok()?)),
            None => (step, None),
        };
        raw = child(raw, key)?;
        if let (Value::List(items), Some(index)) = (&raw.value, index) {
            raw = items.get(index)?;
        }
    }
    Some(raw.line).filter(|line| *line > 0)
}

/// Paths in the config file at `source` and what is wrong with each, such as a file that it names, like all other problems of it.
pub fn located(source: &Path, list: Vec<(String, String)>) -> Problems {
    let text = std::fs::read_to_string(source).unwrap_or_default();
    let problem = |(path, message): (String, String)| Problem { line: line_of(&text, &path), path, message };
    let mut list: Vec<_> = list.into_iter().map(problem).collect();
    list.sort_by_key(|problem| problem.line);
    Problems { source: source.display().to_string(), list, omitted: 0 }
}

fn child<'a>(raw: &'a Raw, wanted: &str) -> Option<&'a Raw> {
    let Value::Mapping(entries) = &raw.value else { return None };
    let found = entries.iter().find(|(key, _)| key.as_key().as_deref() == Some(wanted));
    found.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn finds_the_line_of_a_value() {
        let text = "# 127.0.0.1:1\nserver:\n  admin: 127.0.0.1:1\n  listen:\n    - 127.0.0.1:2\n    - { address: 127.0.0.1:3 }\n";
        assert_eq!(line_of(text, "server.admin"), Some(3));
        assert_eq!(line_of(text, "server.listen[0]"), Some(5));
        assert_eq!(line_of(text, "server.listen[1]"), Some(6));
        assert_eq!(line_of(text, "server.listen[2]"), None);
        assert_eq!(line_of("server: { listen: a:1 }", "server.listen[0]"), Some(1));
        assert_eq!(line_of("server: {}", "server.admin"), None);
    }
}
