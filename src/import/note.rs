//! Notes on what an import could not take over, or what a reader should know about what it did.

use std::fmt;
use std::sync::Arc;

/// Most characters of another program's text in a comment or note.
const SHOWN_MAX: usize = 100;

/// A line of the file that is imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's name as the user, or the file that includes it, gave it.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
}

/// A line of the file that is imported, with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub place: Place,
    /// The words as the file has them. A secret is not among them.
    pub words: String,
}

/// The kind of a note, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Those who were refused are not any more.
    Exposed,
    /// The result does something else than one may expect, or the file did.
    Warning,
    /// A setting without a translation.
    Left,
    /// A setting that has no use here.
    Needless,
}

/// One note. Notes of one kind with the same reason and advice are shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub kind: Kind,
    /// `None`: the file as a whole.
    pub place: Option<Place>,
    /// The setting, as `auth_basic`; may be empty.
    pub subject: String,
    pub reason: String,
    /// Something to do about it; may be empty.
    pub advice: String,
}

impl Place {
    pub fn new(file: &Arc<str>, line: usize) -> Self {
        Self { file: Arc::clone(file), line }
    }
}

impl Origin {
    pub fn new(place: Place, words: &str) -> Self {
        Self { place, words: plain(words) }
    }
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Exposed, Self::Warning, Self::Left, Self::Needless];

    /// The words in front of a note.
    pub fn label(self) -> &'static str {
        match self {
            Self::Exposed => "no longer guarded",
            Self::Warning => "warning",
            Self::Left => "not translated",
            Self::Needless => "not needed",
        }
    }

    /// The heading of a list of them.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Exposed => "No longer guarded:",
            Self::Warning => "Warnings:",
            Self::Left => "Not translated:",
            Self::Needless => "Not needed here:",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", plain(&self.file), self.line)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.words)
    }
}

/// The notes of each kind, those with the same reason and advice as one: its places, then all it has to say.
pub fn grouped(notes: &[Note]) -> Vec<(Kind, String, String)> {
    let mut groups: Vec<Vec<&Note>> = Vec::new();
    for kind in Kind::ALL {
        for note in notes.iter().filter(|note| note.kind == kind) {
            let same = |group: &&mut Vec<&Note>| {
                group.first().is_some_and(|first| {
                    first.kind == kind && first.reason == note.reason && first.advice == note.advice
                })
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(note),
                None => groups.push(vec![note]),
            }
        }
    }
    groups.iter().filter_map(|group| Some((group.first()?.kind, places(group), told(group)))).collect()
}

/// The places of the group, each file once: `a.conf:1, 7, b.conf:2`.
fn places(group: &[&Note]) -> String {
    let mut places: Vec<&Place> = group.iter().filter_map(|note| note.place.as_ref()).collect();
    places.sort();
    places.dedup();
    let mut shown = String::new();
    for (index, place) in places.iter().enumerate() {
        let same = index.checked_sub(1).and_then(|before| places.get(before));
        let part = match same {
            Some(before) if before.file == place.file => format!(", {}", place.line),
            Some(_) => format!(", {place}"),
            None => place.to_string(),
        };
        shown += &part;
    }
    shown
}

/// The subjects of the group, each once, then its reason and advice.
fn told(group: &[&Note]) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for note in group {
        if !note.subject.is_empty() && !subjects.contains(&note.subject.as_str()) {
            subjects.push(&note.subject);
        }
    }
    let Some(first) = group.first() else { return String::new() };
    let mut told = subjects.join(", ");
    if !told.is_empty() {
        told += ": ";
    }
    told += &first.reason;
    if !first.advice.is_empty() {
        told += "; ";
        told += &first.advice;
    }
    plain_all(&told)
}

/// Text of the file in a form that a comment may have: short, on one line, nothing but letters, digits and signs.
pub(super) fn plain(text: &str) -> String {
    let mut shown = plain_all(&text.chars().take(SHOWN_MAX).collect::<String>());
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown += "...";
    }
    shown
}

/// The same, however long it is.
pub(super) fn plain_all(text: &str) -> String {
    let visible = |c: char| if c.is_ascii_graphic() || c.is_alphanumeric() || c == ' ' { c } else { '?' };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: Kind, line: usize, subject: &str, reason: &str) -> Note {
        let place = Some(Place::new(&"a.conf".into(), line));
        Note { kind, place, subject: subject.to_owned(), reason: reason.to_owned(), advice: String::new() }
    }

    #[test]
    fn notes_with_one_reason_are_one() {
        let notes = [
            note(Kind::Needless, 9, "sendfile", "no files"),
            note(Kind::Warning, 3, "", "look"),
            note(Kind::Needless, 2, "tcp_nopush", "no files"),
            note(Kind::Needless, 2, "tcp_nopush", "no files"),
        ];
        let told = |kind, places: &str, text: &str| (kind, places.to_owned(), text.to_owned());
        assert_eq!(
            grouped(&notes),
            [
                told(Kind::Warning, "a.conf:3", "look"),
                told(Kind::Needless, "a.conf:2, 9", "sendfile, tcp_nopush: no files")
            ]
        );
    }

    #[test]
    fn text_of_a_file_is_short_and_on_one_line() {
        assert_eq!(plain("a\nb\u{feff}\u{7f}é"), "a?b??é");
        assert_eq!(plain(&"x".repeat(SHOWN_MAX + 1)), "x".repeat(SHOWN_MAX) + "...");
    }
}
