//! A draft as YAML, each line with its place in the tree.

use super::draft::{Mapping, Value};
use super::note::{Origin, plain};

/// The column from which comments begin, where there is room.
const COMMENT_COLUMN: usize = 40;
const INDENT: usize = 2;
/// Longest line with a comment, unless its value alone is longer.
const WIDTH: usize = 120;

/// The way to an entry or item from the root: an index for each level.
pub(super) type Path = Vec<usize>;

/// The text, line by line.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    lines: Vec<String>,
    paths: Vec<Path>,
}

impl Rendered {
    pub(super) fn of(root: &Mapping) -> Self {
        let mut rendered = Self::default();
        rendered.mapping(root, &Lead { depth: 0, dash: false }, &[]);
        rendered
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The entry on this line, counted from 1.
    pub(super) fn path(&self, line: usize) -> Option<&Path> {
        self.paths.get(line.checked_sub(1)?)
    }

    fn mapping(&mut self, mapping: &Mapping, lead: &Lead, path: &[usize]) {
        for (index, entry) in mapping.entries.iter().enumerate() {
            let lead = if index == 0 { *lead } else { lead.after() };
            // what is wrong with the first entry of an item is wrong with the item
            let path = if lead.dash { path.to_vec() } else { below(path, index) };
            let origin = entry.origin.as_ref();
            let key = scalar(&entry.key, Within::Key);
            match &entry.value {
                Value::Remark => {
                    self.line(&lead.before(&format!("# {}", plain(&entry.key))), origin, path);
                }
                Value::Mapping(inner) => {
                    self.line(&lead.before(&format!("{key}:")), origin, path.clone());
                    self.mapping(inner, &lead.deeper(), &path);
                }
                Value::List(items) => {
                    self.line(&lead.before(&format!("{key}:")), origin, path.clone());
                    for (index, item) in items.iter().enumerate() {
                        let lead = Lead { dash: true, ..lead.deeper() };
                        self.item(&item.value, item.origin.as_ref(), &lead, below(&path, index));
                    }
                }
                value => {
                    self.line(
                        &lead.before(&format!("{key}: {}", inline(value, Within::Block))),
                        origin,
                        path,
                    );
                }
            }
        }
    }

    fn item(&mut self, value: &Value, origin: Option<&Origin>, lead: &Lead, path: Path) {
        match value {
            Value::Mapping(mapping) => self.mapping(mapping, lead, &path),
            value => self.line(&lead.before(&inline(value, Within::Block)), origin, path),
        }
    }

    fn line(&mut self, text: &str, origin: Option<&Origin>, path: Path) {
        let shown = match origin {
            Some(origin) => {
                let room = COMMENT_COLUMN.saturating_sub(text.chars().count()).max(2);
                cut(format!("{text}{}# {origin}", " ".repeat(room)), text.len())
            }
            None => text.to_owned(),
        };
        self.lines.push(shown);
        self.paths.push(path);
    }
}

/// A line without the end of a comment that is too long. `kept`: the bytes before the comment.
fn cut(line: String, kept: usize) -> String {
    let Some((end, _)) = line.char_indices().nth(WIDTH - 3).filter(|_| line.chars().count() > WIDTH) else {
        return line;
    };
    match line.get(..end).and_then(|start| start.rfind(' ')) {
        Some(blank) if blank > kept + 3 => format!("{}...", line.get(..blank).unwrap_or(&line)),
        _ => line,
    }
}

fn below(path: &[usize], index: usize) -> Path {
    path.iter().copied().chain([index]).collect()
}

/// The beginning of a line.
#[derive(Clone, Copy)]
struct Lead {
    depth: usize,
    /// The line begins an item of a list.
    dash: bool,
}

impl Lead {
    fn before(&self, text: &str) -> String {
        let indent = " ".repeat(INDENT * self.depth);
        if self.dash { format!("{indent}- {text}") } else { format!("{indent}{text}") }
    }

    /// That of the further entries of the same mapping.
    fn after(&self) -> Self {
        if self.dash { Self { depth: self.depth + 1, dash: false } } else { *self }
    }

    fn deeper(&self) -> Self {
        let after = self.after();
        Self { depth: after.depth + 1, ..after }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Block,
    Row,
    Key,
}

fn inline(value: &Value, within: Within) -> String {
    match value {
        Value::Word(word) => word.clone(),
        Value::Text(text) => scalar(text, within),
        Value::Row(values) => {
            let shown: Vec<_> = values.iter().map(|value| inline(value, Within::Row)).collect();
            format!("[{}]", shown.join(", "))
        }
        Value::Mapping(mapping) | Value::Inline(mapping) => {
            let shown = |(key, value): (String, String)| format!("{key}: {value}");
            let entries = mapping.entries.iter().filter(|entry| !matches!(entry.value, Value::Remark));
            let entries =
                entries.map(|entry| (scalar(&entry.key, Within::Key), inline(&entry.value, Within::Row)));
            format!("{{ {} }}", entries.map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::List(items) => {
            let shown: Vec<_> = items.iter().map(|item| inline(&item.value, Within::Row)).collect();
            format!("[{}]", shown.join(", "))
        }
        Value::Remark => String::new(),
    }
}

/// Text as a scalar that is read back as this very text: plain if it is harmless, else in quotes.
fn scalar(text: &str, within: Within) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '/');
    let allowed = |c: char| {
        c.is_ascii_alphanumeric() || "._/-".contains(c) || within == Within::Block && ":@+=".contains(c)
    };
    let is_plain = first && text.chars().all(allowed) && !text.ends_with(':') && !means_else(text, within);
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// A plain scalar of this text would be a number, a switch or nothing.
fn means_else(text: &str, within: Within) -> bool {
    const WORDS: [&str; 3] = ["true", "false", "null"];
    /// Switches of the config; as keys they are text.
    const SWITCHES: [&str; 6] = ["on", "off", "yes", "no", "y", "n"];
    let lower = text.to_ascii_lowercase();
    let digits = |c: char| c.is_ascii_digit() || "._:exoabcdf+-".contains(c);
    WORDS.contains(&&*lower)
        || within != Within::Key && SWITCHES.contains(&&*lower)
        || lower.starts_with(|c: char| c.is_ascii_digit())
            && !lower.contains('/')
            && lower.chars().all(digits)
            && !is_address(&lower)
}

/// `1.2.3.4` and `1.2.3.4:80`, which no reader takes for a number.
fn is_address(text: &str) -> bool {
    let (host, _) = text.rsplit_once(':').unwrap_or((text, ""));
    host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// In double quotes. A variable of the environment is none here: `$${`.
fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            c if c.is_ascii_graphic() || c == ' ' => shown.push(c),
            c if (c as u32) < 0x1_0000 => shown += &format!("\\u{:04x}", c as u32),
            c => shown += &format!("\\U{:08x}", c as u32),
        }
    }
    shown + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::draft::Item;
    use super::super::note::Place;
    use super::*;

    #[test]
    fn a_tree_is_written_line_by_line() {
        let origin = Origin::new(Place::new(&"a.conf".into(), 7), "server a:1 weight=2");
        let mut node = Mapping::default();
        node.text("address", "a:1", Some(&origin));
        node.word("weight", "2", Some(&origin));
        let nodes = vec![
            Item { value: node.into(), origin: None },
            Item { value: Value::Text("[::1]:80".to_owned()), origin: Some(origin.clone()) },
        ];
        let mut pool = Mapping::default();
        pool.remark("engine: vllm", None);
        pool.set("nodes", Value::List(nodes), None);
        let words = ["error", "on"].map(|word| Value::Text(word.to_owned()));
        pool.section("retry", |retry| retry.set("on", Value::Row(words.to_vec()), None));
        let mut root = Mapping::default();
        root.section("pools", |pools| pools.set("a:b", pool.into(), Some(&origin)));
        let rendered = Rendered::of(&root);
        let expected = r#"
pools:
  "a:b":                                # a.conf:7: server a:1 weight=2
    # engine: vllm
    nodes:
      - address: a:1                    # a.conf:7: server a:1 weight=2
        weight: 2                       # a.conf:7: server a:1 weight=2
      - "[::1]:80"                      # a.conf:7: server a:1 weight=2
    retry:
      on: [error, "on"]
"#;
        assert_eq!(rendered.text(), expected.trim_start());
        assert_eq!(rendered.path(5), Some(&vec![0, 0, 1, 0]), "the item, not its address");
        assert_eq!(rendered.path(6), Some(&vec![0, 0, 1, 0, 1]));
        assert_eq!((rendered.path(0), rendered.path(10)), (None, None));
    }

    proptest! {
        #[test]
        fn text_is_read_back_as_it_is(text in ".{0,30}|[0-9a-fx._:e+-]{0,12}|(on|No|null|~|0x1f|1_000|1:20|.nan|1e3)") {
            let unescaped = |read: &str| read.replace("$${", "${");
            let mut root = Mapping::default();
            root.text("key", text.clone(), None);
            root.set(&text, Value::Row(vec![Value::Text(text.clone())]), None);
            let yaml = Rendered::of(&root).text();
            let read: serde_yaml::Mapping = serde_yaml::from_str(&yaml)
                .map_err(|error| TestCaseError::fail(format!("{error} in {yaml}")))?;
            for (key, value) in read {
                let key = unescaped(key.as_str().unwrap_or("no text"));
                prop_assert!(key == "key" || key == text, "{yaml}");
                let value = value.as_str().or_else(|| value[0].as_str()).map(unescaped);
                prop_assert_eq!(value, Some(text.clone()), "{}", yaml);
            }
        }
    }
}
