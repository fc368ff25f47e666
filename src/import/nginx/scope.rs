//! A place among nested blocks: a setting that a block does not have is that of the block around it.

use super::super::note::Origin;
use super::parse::Directive;

/// Directives whose words may hold a secret.
const SECRET: [&str; 8] =
    ["proxy_set_header", "set", "if", "map", "auth_basic", "add_header", "return", "rewrite"];

/// The blocks around a place, the outermost first.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'a> {
    levels: Vec<&'a [Directive]>,
}

impl<'a> Scope<'a> {
    pub(super) fn within(&self, block: &'a [Directive]) -> Self {
        let mut levels = self.levels.clone();
        levels.push(block);
        Self { levels }
    }

    /// The directives of this name that hold here: those of the innermost block that has some.
    pub(super) fn all(&self, name: &str) -> Vec<&'a Directive> {
        let of = |level: &&'a [Directive]| {
            let found: Vec<_> = level.iter().filter(|directive| directive.name == name).collect();
            (!found.is_empty()).then_some(found)
        };
        self.levels.iter().rev().find_map(of).unwrap_or_default()
    }

    pub(super) fn one(&self, name: &str) -> Option<&'a Directive> {
        self.all(name).into_iter().next()
    }

    /// The first word of a setting; empty if there is none.
    pub(super) fn word(&self, name: &str) -> &'a str {
        self.one(name).map_or("", |directive| directive.arg(0))
    }

    /// All directives around this place, those of the innermost block first.
    pub(super) fn around(&self) -> impl Iterator<Item = &'a Directive> {
        self.levels.iter().rev().copied().flatten()
    }
}

/// The line of a directive, with its words unless they may hold a secret.
pub(super) fn origin(directive: &Directive) -> Origin {
    let hides =
        SECRET.contains(&&*directive.name) || directive.args.iter().any(|arg| arg.contains(['@', '?']));
    let words = if hides { format!("{} ...", directive.name) } else { directive.words() };
    Origin::new(directive.place.clone(), &words)
}
