//! Events and answers as text with holes, so that a row of data can be compared with a trace of an engine.
//!
//! `$name` is a hole. `<name:text>` stands only where the condition holds, `<!name:text>` only where it does not; these
//! parts do not nest.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use super::super::stamp;
use super::super::text::Prompt;

/// The values for the holes of a template that are the same for all events of an answer.
pub(super) trait Constants {
    /// The value of a hole; `None` if it is filled for each event.
    fn value(&self, name: &str) -> Option<Cow<'_, str>>;
    fn holds(&self, condition: &str) -> bool;
}

/// The values that differ from event to event.
pub(super) struct Event<'a> {
    pub prompt: &'a Prompt,
    /// The event's tokens, counted from the first of this answer.
    pub tokens: Range<u32>,
    /// Events before this one.
    pub number: u32,
}

/// A template whose constant holes are filled.
pub(super) struct Template {
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Hole(Hole),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hole {
    /// The event's text.
    Text,
    /// The text of the answer so far.
    Whole,
    /// The ids of the event's tokens, `null` where nobody asked for them.
    Ids,
    /// The ids of the answer so far.
    AllIds,
    /// Tokens of the answer so far.
    Tokens,
    /// The same with the prompt's.
    Total,
    /// The number of the event.
    Number,
}

impl Hole {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "whole" => Self::Whole,
            "ids" => Self::Ids,
            "all_ids" => Self::AllIds,
            "tokens" => Self::Tokens,
            "total" => Self::Total,
            "number" => Self::Number,
            _ => return None,
        })
    }
}

impl Template {
    pub(super) fn new(source: &str, constants: &impl Constants) -> Self {
        let mut pieces = vec![Piece::Text(String::new())];
        for part in parts(source) {
            let text = match part {
                Part::Text(text) => Cow::Borrowed(text),
                Part::If { condition, .. } if !holds(condition, constants) => continue,
                Part::If { text, .. } => {
                    pieces.extend(Self::new(text, constants).pieces);
                    continue;
                }
                Part::Hole(name) => match (constants.value(name), Hole::of(name)) {
                    (Some(value), _) => value,
                    (None, Some(hole)) => {
                        pieces.push(Piece::Hole(hole));
                        continue;
                    }
                    // a test of the rows finds it
                    (None, None) => Cow::Owned(format!("${name}")),
                },
            };
            match pieces.last_mut() {
                Some(Piece::Text(before)) => before.push_str(&text),
                _ => pieces.push(Piece::Text(text.into_owned())),
            }
        }
        Self { pieces }
    }

    /// True if it tells the text of tokens.
    pub(super) fn has_text(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Hole(Hole::Text)))
    }

    /// The text of one that has no hole for events.
    pub(super) fn constant(self) -> String {
        let text = |piece| if let Piece::Text(text) = piece { text } else { String::new() };
        self.pieces.into_iter().map(text).collect()
    }

    pub(super) fn fill(&self, event: &Event<'_>) -> String {
        let mut out = String::with_capacity(512);
        self.pieces.iter().for_each(|piece| piece.fill(event, &mut out));
        out
    }

    /// An event that begins with the present time, if it is JSON from its beginning.
    pub(super) fn fill_stamped(&self, event: &Event<'_>) -> String {
        let filled = self.fill(event);
        let mut out = String::with_capacity(filled.len() + 40);
        stamp::begin(&filled, &mut out);
        out
    }
}

impl Piece {
    fn fill(&self, event: &Event<'_>, out: &mut String) {
        let Event { prompt, tokens, number } = event;
        let positions = |from: u32| prompt.start + from..prompt.start + tokens.end;
        // Writing to a String cannot fail.
        let _ = match self {
            Piece::Text(text) => out.write_str(text),
            Piece::Hole(Hole::Text) => {
                positions(tokens.start).for_each(|position| prompt.push_token(position, out));
                Ok(())
            }
            Piece::Hole(Hole::Whole) => {
                positions(0).for_each(|position| prompt.push_token(position, out));
                Ok(())
            }
            Piece::Hole(hole @ (Hole::Ids | Hole::AllIds)) => {
                let from = if *hole == Hole::Ids { tokens.start } else { 0 };
                out.push_str(&json_ids(positions(from).map(|position| prompt.token_id(position))));
                Ok(())
            }
            Piece::Hole(Hole::Tokens) => write!(out, "{}", tokens.end),
            Piece::Hole(Hole::Total) => write!(out, "{}", prompt.len + tokens.end),
            Piece::Hole(Hole::Number) => write!(out, "{number}"),
        };
    }
}

/// `[1,2,3]`
pub(super) fn json_ids(ids: impl IntoIterator<Item = u32>) -> String {
    let mut out = String::from("[");
    for (number, id) in ids.into_iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{id}");
    }
    out.push(']');
    out
}

fn holds(condition: &str, constants: &impl Constants) -> bool {
    match condition.strip_prefix('!') {
        Some(condition) => !constants.holds(condition),
        None => constants.holds(condition),
    }
}

enum Part<'a> {
    Text(&'a str),
    Hole(&'a str),
    If { condition: &'a str, text: &'a str },
}

fn parts(mut source: &str) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let part = match source.as_bytes().first()? {
            b'$' => {
                let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
                let end = source[1..].find(|c| !is_name(c)).map_or(source.len(), |end| end + 1);
                let (name, rest) = source[1..].split_at(end - 1);
                source = rest;
                return Some(Part::Hole(name));
            }
            b'<' => {
                let (part, rest) = source[1..].split_once('>')?;
                source = rest;
                let (condition, text) = part.split_once(':')?;
                return Some(Part::If { condition, text });
            }
            _ => source.find(['$', '<']).unwrap_or(source.len()),
        };
        let (text, rest) = source.split_at(part);
        source = rest;
        Some(Part::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample;

    impl Constants for Sample {
        fn value(&self, name: &str) -> Option<Cow<'_, str>> {
            (name == "id").then_some(Cow::Borrowed("x-1"))
        }

        fn holds(&self, condition: &str) -> bool {
            condition == "yes"
        }
    }

    #[test]
    fn holes_are_filled_and_parts_stand_where_they_should() {
        let prompt = Prompt::chat(vec![7, 8], None);
        let event = Event { prompt: &prompt, tokens: 1..3, number: 4 };
        let fill = |source: &str| Template::new(source, &Sample).fill(&event);
        assert_eq!(fill(r#"{"id":"$id","n":$number}"#), r#"{"id":"x-1","n":4}"#);
        assert_eq!(fill("<yes:a$tokens><no:b><!no:c><!yes:d>$total"), "a3c5");
        assert_eq!(fill("$ids"), "[1000001,1000002]");
        assert!(fill("$whole").ends_with(&fill("$text")));
        assert!(Template::new("a<yes:$text>", &Sample).has_text());
        assert!(!Template::new("a<no:$text>$whole", &Sample).has_text());
    }
}
