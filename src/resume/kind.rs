//! OpenAI's two generation APIs, told apart by their paths.

use crate::classify::dialect::Dialect;

const CHAT: &str = "/chat/completions";
const COMPLETION: &str = "/completions";

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

/// The path of completions at an engine whose chats have this path, whatever stands before (`/v1`, a `--root-path`, an
/// ingress' prefix). `None` if the path does not tell.
pub(super) fn completions_of(chat: &str) -> Option<String> {
    let before = chat.trim_end_matches('/').strip_suffix(CHAT)?;
    Some(format!("{before}{COMPLETION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_stand_beside_chats() {
        let table = [
            ("/v1/chat/completions", Some("/v1/completions")),
            ("/llm/a/v1/chat/completions/", Some("/llm/a/v1/completions")),
            ("/chat/completions", Some("/completions")),
            ("/invocations", None),
            ("/v1/completions", None),
        ];
        for (chat, want) in table {
            assert_eq!(completions_of(chat).as_deref(), want, "{chat}");
            assert!(want.is_none_or(|path| Kind::of(path) == Some(Kind::Completion)), "{chat}");
        }
    }
}
