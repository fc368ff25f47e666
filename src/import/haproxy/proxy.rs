//! A frontend, backend or `listen` with the `defaults` that hold for it: the last of two lines that say the same counts.

use super::parse::{Line, Section};

/// Most defaults that one follows another.
const DEPTH_MAX: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Proxy<'a> {
    pub section: &'a Section,
    /// Its defaults and those that they name, the innermost first.
    defaults: Vec<&'a Section>,
}

/// All proxies, each with its defaults: those it names with `from`, else the last before it.
pub(super) fn proxies(sections: &[Section]) -> Vec<Proxy<'_>> {
    let mut last = None;
    let mut found = Vec::new();
    for section in sections {
        match section.kind.as_str() {
            "defaults" => last = Some(section),
            "frontend" | "backend" | "listen" => {
                let first = named(section, sections).or(last);
                let defaults = std::iter::successors(first, |inner| named(inner, sections));
                found.push(Proxy { section, defaults: defaults.take(DEPTH_MAX).collect() });
            }
            _ => {}
        }
    }
    found
}

/// The defaults that a section names with `from`.
fn named<'a>(section: &Section, sections: &'a [Section]) -> Option<&'a Section> {
    let name = section.head.after("from")?;
    sections.iter().find(|other| other.kind == "defaults" && other.name == name)
}

impl<'a> Proxy<'a> {
    /// The section, then its defaults from the innermost on.
    fn levels(&self) -> impl DoubleEndedIterator<Item = &'a Section> {
        [self.section].into_iter().chain(self.defaults.clone())
    }

    /// The line that holds here for these first words.
    pub(super) fn last(&self, words: &str) -> Option<&'a Line> {
        self.levels().find_map(|level| level.lines.iter().rev().find(|line| line.is(words)))
    }

    /// The lines of its own that begin so.
    pub(super) fn own(&self, words: &str) -> impl Iterator<Item = &'a Line> {
        self.section.lines.iter().filter(move |line| line.is(words))
    }

    /// All lines that hold here and begin so, those of the defaults first.
    pub(super) fn all(&self, words: &str) -> Vec<&'a Line> {
        let lines = self.levels().rev().flat_map(|level| &level.lines);
        lines.filter(|line| line.is(words)).collect()
    }

    /// The option is on: the last word on it is not `no option`.
    pub(super) fn option(&self, name: &str) -> Option<&'a Line> {
        let [on, off] = [format!("option {name}"), format!("no option {name}")];
        let about = |line: &&Line| line.is(&on) || line.is(&off);
        let line = self.levels().find_map(|level| level.lines.iter().rev().find(about))?;
        (line.word(0) == "option").then_some(line)
    }

    pub(super) fn has_servers(&self) -> bool {
        self.section.lines.iter().any(|line| matches!(line.word(0), "server" | "server-template"))
    }

    /// It passes on bytes. HAProxy's own default.
    pub(super) fn is_tcp(&self) -> bool {
        self.last("mode").is_none_or(|mode| mode.word(1) != "http")
    }
}
