//! OpenAI's two generation APIs, told apart by their paths.

use crate::classify::dialect::Dialect;

/// One of OpenAI's two generation APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Completion,
}

impl Kind {
    /// The API behind a path (without its query).
    pub fn of(path: &str) -> Option<Self> {
        match Dialect::of(path)?.name {
            "chat" => Some(Self::Chat),
            "completions" => Some(Self::Completion),
            _ => None,
        }
    }
}
