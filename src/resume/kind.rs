//! OpenAI's two generation APIs.

use crate::classify::dialect::Dialect;

/// Which of OpenAI's two generation APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Completion,
}

impl Kind {
    /// Of a path without its query.
    pub fn of(path: &str) -> Option<Self> {
        match Dialect::of(path)?.name {
            "chat" => Some(Self::Chat),
            "completions" => Some(Self::Completion),
            _ => None,
        }
    }
}
