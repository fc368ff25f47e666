//! The outline of a config text: the line of each value, and limits on nesting and size.
//!
//! This is a first pass with a parser that keeps positions, which `serde_yaml` drops. It refuses texts that
//! would take too much memory or stack.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScanError, Span};

use super::problems::plain;

/// The deepest nesting of lists and mappings; the schema needs six.
const DEPTH_MAX: usize = 32;
/// The most values in a file, with all aliases expanded.
const VALUES_MAX: usize = 1_000_000;
/// The most characters shown of the parser's own message.
pub(super) const INFO_SHOWN_MAX: usize = 200;

/// The line (0: unknown) and the problem there.
type Refusal = (usize, String);

/// The line of each value and key in document order, with all aliases expanded.
pub(super) fn outline(text: &str) -> Result<Vec<usize>, Refusal> {
    let mut outline = Outline::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(text, &error))?;
        outline.take(&event, span).map_err(|message| (span.start.line(), message))?;
    }
    Ok(outline.lines)
}

#[derive(Default)]
struct Outline {
    lines: Vec<usize>,
    /// The lists and mappings around the next value: the anchor (0: none) and the index in `lines` of each.
    open: Vec<(usize, usize)>,
    /// The finished anchored values, each as a range of `lines`.
    anchors: HashMap<usize, Range<usize>>,
    documents: usize,
}

impl Outline {
    fn take(&mut self, event: &Event, span: Span) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) => self.document(),
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                Err("YAML tags (`!name`) are not supported; quote the text if it begins with `!`".to_owned())
            }
            Event::Scalar(_, _, anchor, None) => {
                self.value(*anchor, span)?;
                self.close();
                Ok(())
            }
            Event::SequenceStart(anchor, None) | Event::MappingStart(anchor, None) => {
                self.value(*anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(*anchor),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn document(&mut self) -> Result<(), String> {
        self.documents += 1;
        match self.documents {
            1 => Ok(()),
            _ => Err("a second YAML document begins here; a config is one document".to_owned()),
        }
    }

    fn value(&mut self, anchor: usize, span: Span) -> Result<(), String> {
        if self.open.len() > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} nested lists and mappings"));
        }
        self.open.push((anchor, self.lines.len()));
        self.lines.push(span.start.line());
        self.bounded()
    }

    fn close(&mut self) {
        if let Some((anchor, start)) = self.open.pop().filter(|(anchor, _)| *anchor != 0) {
            self.anchors.insert(anchor, start..self.lines.len());
        }
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        let range =
            self.anchors.get(&anchor).cloned().ok_or("the alias refers to a value that it is part of")?;
        self.lines.extend_from_within(range);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), String> {
        match self.lines.len() {
            0..=VALUES_MAX => Ok(()),
            _ => Err(format!("more than {VALUES_MAX} values, with all aliases (`*name`) expanded")),
        }
    }
}

/// Words a syntax error for the usual slips: a tab, content in brackets that is indented too little, or an
/// unclosed construct that the parser notices only on the next line.
fn syntax(text: &str, error: &ScanError) -> Refusal {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    if let Some(tabbed) = (line..=line + 1).find(|line| is_tabbed(text, *line)) {
        return (tabbed, "the line is indented with a tab; YAML wants spaces".to_owned());
    }
    if error.info().starts_with("invalid indentation") {
        return (line, "must be indented further than the key whose brackets it is in".to_owned());
    }
    let place = if column == 1 { "before this line".to_owned() } else { format!("at column {column}") };
    (line, format!("not valid YAML {place}: {}", plain(error.info(), INFO_SHOWN_MAX)))
}

fn is_tabbed(text: &str, line: usize) -> bool {
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    written.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
}
