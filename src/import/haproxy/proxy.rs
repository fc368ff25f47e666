//! A frontend, backend or `listen` with the `defaults` that hold for it: the last of two lines that say the same counts.

use super::parse::{Line, Section};

#[derive(Debug, Clone, Copy)]
pub(super) struct Proxy<'a> {
    pub section: &'a Section,
    defaults: Option<&'a Section>,
}

/// All proxies, each with its defaults: those it names with `from`, else the last before it.
pub(super) fn proxies(sections: &[Section]) -> Vec<Proxy<'_>> {
    let mut defaults = None;
    let mut found = Vec::new();
    for section in sections {
        match section.kind.as_str() {
            "defaults" => defaults = Some(section),
            "frontend" | "backend" | "listen" => {
                let named = section.head.after("from");
                let named = named.and_then(|name| {
                    sections.iter().find(|other| other.kind == "defaults" && other.name == name)
                });
                found.push(Proxy { section, defaults: named.or(defaults) });
            }
            _ => {}
        }
    }
    found
}

impl<'a> Proxy<'a> {
    /// The line that holds here for these first words.
    pub(super) fn last(&self, words: &str) -> Option<&'a Line> {
        let of = |section: &'a Section| section.lines.iter().rev().find(|line| line.is(words));
        of(self.section).or_else(|| self.defaults.and_then(of))
    }

    /// The lines of its own that begin so.
    pub(super) fn own(&self, words: &str) -> impl Iterator<Item = &'a Line> {
        let words = words.to_owned();
        self.section.lines.iter().filter(move |line| line.is(&words))
    }

    /// All lines that hold here and begin so, those of the defaults first.
    pub(super) fn all(&self, words: &str) -> Vec<&'a Line> {
        let sections = self.defaults.into_iter().chain([self.section]);
        sections.flat_map(|section| &section.lines).filter(|line| line.is(words)).collect()
    }

    /// The option is on: the last word on it is not `no option`.
    pub(super) fn option(&self, name: &str) -> Option<&'a Line> {
        let of = |section: &'a Section| {
            let about =
                |line: &&Line| line.is(&format!("option {name}")) || line.is(&format!("no option {name}"));
            section.lines.iter().rev().find(about)
        };
        let line = of(self.section).or_else(|| self.defaults.and_then(of))?;
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
