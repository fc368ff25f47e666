//! The text of a config of HAProxy: sections of lines, lines of words.

use std::sync::Arc;

use super::super::note::{Origin, Place};
use super::super::source::SourceFile;

/// Keywords that begin a section.
const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "resolvers",
    "peers",
    "userlist",
    "cache",
    "program",
    "mailers",
    "ring",
    "http-errors",
    "log-forward",
    "log-profile",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
];

/// One line that says something.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub words: Vec<String>,
    pub place: Place,
}

#[derive(Debug, Clone)]
pub(super) struct Section {
    /// As `backend`.
    pub kind: String,
    pub name: String,
    pub head: Line,
    pub lines: Vec<Line>,
}

impl Line {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// It begins with these words.
    pub(super) fn is(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(index, word)| self.word(index) == word)
    }

    /// The word behind this one.
    pub(super) fn after(&self, word: &str) -> Option<&str> {
        let at = self.words.iter().position(|other| other == word)?;
        self.words.get(at + 1).map(String::as_str)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }

    /// The line with all its words, which must hold no secret.
    pub(super) fn origin(&self) -> Origin {
        Origin::new(self.place.clone(), &self.words.join(" "))
    }

    /// The line with these words of it.
    pub(super) fn said(&self, words: &str) -> Origin {
        Origin::new(self.place.clone(), words)
    }
}

/// The sections of a file, in its order. What stands before the first one is no section's, and left out.
pub(super) fn sections(source: &SourceFile) -> Vec<Section> {
    let file: Arc<str> = source.name.as_str().into();
    let mut sections: Vec<Section> = Vec::new();
    for (index, text) in source.text.lines().enumerate() {
        let words = words(text);
        let Some(first) = words.first() else { continue };
        let place = Place::new(&file, index + 1);
        if SECTIONS.contains(&first.as_str()) {
            let name = words.get(1).cloned().unwrap_or_default();
            let head = Line { words: words.clone(), place };
            sections.push(Section { kind: first.clone(), name, head, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(Line { words, place });
        }
    }
    sections
}

/// The words of a line: blanks part them, quotes and backslashes join them, `#` begins a comment.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => {
                // an escaped letter is a letter with a meaning of its own, as in `\r`; blanks and signs stand for themselves
                let next = chars.next().unwrap_or('\\');
                if next.is_ascii_alphanumeric() {
                    word.get_or_insert_default().push('\\');
                }
                word.get_or_insert_default().push(next);
            }
            (None, '"' | '\'') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '#') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parted_as_haproxy_does() {
        let table: [(&str, &[&str]); 7] = [
            ("  server  a 10.0.0.1:80\tcheck # a comment", &["server", "a", "10.0.0.1:80", "check"]),
            ("# all", &[]),
            (r"http-check send hdr Host a\ b", &["http-check", "send", "hdr", "Host", "a b"]),
            (r#"log-format "%ci # %t""#, &["log-format", "%ci # %t"]),
            (r"acl x path_reg '^/v1/.*\.json$'", &["acl", "x", "path_reg", r"^/v1/.*\.json$"]),
            ("a \"\" b", &["a", "", "b"]),
            (r"a \# b \", &["a", "#", "b", "\\"]),
        ];
        for (text, wanted) in table {
            assert_eq!(words(text), wanted, "{text}");
        }
    }

    #[test]
    fn sections_begin_with_their_keyword_whatever_the_indentation() {
        let text = "stray\nglobal\n  maxconn 4\nlisten a :80\nserver x 1:2\n\nbackend b from c\n";
        let found = sections(&SourceFile { name: "f".into(), text: text.into() });
        let shown: Vec<_> = found.iter().map(|s| (s.kind.as_str(), s.name.as_str(), s.lines.len())).collect();
        assert_eq!(shown, [("global", "", 1), ("listen", "a", 1), ("backend", "b", 0)]);
        assert_eq!(found[1].head.place.line, 4);
    }
}
