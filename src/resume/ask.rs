//! The wish that is added to a client's request, so that its answer can be continued exactly.
//!
//! vLLM (0.10.2 and later) gives token ids to those who ask, in chats and completions. SGLang (0.5.23) gives them in streamed
//! completions, and refuses a streamed chat that asks for them (`serving_chat.py`); there it counts tokens in every event.
//! Older versions ignore the wish.

use bytes::Bytes;
use memchr::memmem;

use super::json::Object;
use super::kind::Kind;
use crate::config::Engine;

/// The wish beside the client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// `return_token_ids`
    Ids,
    /// `stream_options.continuous_usage_stats`
    Usage,
}

/// The body of a request as a node gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeBody {
    pub start: Bytes,
    pub tail: &'static [u8],
}

impl NodeBody {
    pub fn as_it_came(body: Bytes) -> Self {
        Self { start: body, tail: b"" }
    }

    pub fn len(&self) -> usize {
        self.start.len() + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub(super) const IDS: &[u8] = b",\"return_token_ids\":true}";
pub(super) const USAGE: &[u8] = b",\"stream_options\":{\"continuous_usage_stats\":true}}";

impl Wish {
    /// The wish for an engine.
    pub(super) fn of(kind: Kind, engine: Engine) -> Self {
        match (engine, kind) {
            (Engine::Vllm, _) | (Engine::Sglang, Kind::Completion) => Self::Ids,
            (Engine::Sglang, Kind::Chat) => Self::Usage,
            (Engine::Generic | Engine::Llamacpp, _) => Self::Nothing,
        }
    }

    /// The member that would say it, if the client said it.
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Ids => "return_token_ids",
            Self::Usage => "stream_options",
        }
    }

    /// True if the client's request says something about it already.
    pub(super) fn is_named(self, request: &Object) -> bool {
        request.fields().any(|(name, _)| name == self.name())
    }

    /// A client's request with the wish. It is read again only where the client has named the same member.
    pub(super) fn add_to(self, body: &Bytes, is_named: bool) -> NodeBody {
        let tail = match self {
            Self::Nothing => return NodeBody::as_it_came(body.clone()),
            Self::Ids => IDS,
            Self::Usage => USAGE,
        };
        if is_named {
            let Some(mut request) = Object::parse(body) else { return NodeBody::as_it_came(body.clone()) };
            self.set(&mut request);
            return NodeBody::as_it_came(request.to_string().into());
        }
        match memchr::memrchr(b'}', body) {
            Some(end) => NodeBody { start: body.slice(..end), tail },
            None => NodeBody::as_it_came(body.clone()),
        }
    }

    /// Says it in a request.
    pub(super) fn set(self, request: &mut Object) {
        match self {
            Self::Nothing => {}
            Self::Ids => request.set(self.name(), "true"),
            Self::Usage => {
                let options = request.get(self.name()).unwrap_or("{}").to_owned();
                let mut options = Object::parse(options.as_bytes()).unwrap_or_default();
                options.set("continuous_usage_stats", "true");
                request.set(self.name(), options.to_string());
            }
        }
    }
}

/// A cheap look whether a request may ask for a stream, before it is read: most that do not are answered whole.
pub(super) fn may_ask_for_stream(body: &[u8]) -> bool {
    const NAME: &[u8] = b"\"stream\"";
    memmem::find_iter(body, NAME).any(|at| {
        let value = body[at + NAME.len()..].trim_ascii_start();
        value.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn added(wish: Wish, body: &str) -> String {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let is_named = wish.is_named(&Object::parse(&bytes).unwrap());
        let body = wish.add_to(&bytes, is_named);
        assert_eq!(body.len(), body.start.len() + body.tail.len());
        String::from_utf8([&body.start[..], body.tail].concat()).unwrap()
    }

    #[test]
    fn a_wish_is_added_to_a_request() {
        let table = [
            (Wish::Nothing, r#"{"a":1} "#, r#"{"a":1} "#),
            (Wish::Ids, "{\"a\":{} }\n", r#"{"a":{} ,"return_token_ids":true}"#),
            (Wish::Ids, r#"{"return_token_ids":false,"a":1}"#, r#"{"return_token_ids":true,"a":1}"#),
            (Wish::Ids, r#"{"return_token_ids":null}"#, r#"{"return_token_ids":true}"#),
            (Wish::Usage, r#"{"a":1}"#, r#"{"a":1,"stream_options":{"continuous_usage_stats":true}}"#),
            (
                Wish::Usage,
                r#"{"stream_options":{"include_usage":true},"a":1}"#,
                r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"a":1}"#,
            ),
            (
                Wish::Usage,
                r#"{"stream_options":null}"#,
                r#"{"stream_options":{"continuous_usage_stats":true}}"#,
            ),
        ];
        for (wish, body, want) in table {
            assert_eq!(added(wish, body), want, "{wish:?} {body}");
        }
    }

    #[test]
    fn a_request_for_a_stream_is_recognised() {
        for yes in [r#"{"stream":true}"#, r#"{"stream" : true}"#, r#"{"a":"\"stream\":","stream":true}"#] {
            assert!(may_ask_for_stream(yes.as_bytes()), "{yes}");
        }
        for no in [r#"{"stream":false}"#, r#"{"a":1}"#, r#"{"stream_options":true}"#, ""] {
            assert!(!may_ask_for_stream(no.as_bytes()), "{no}");
        }
    }

    proptest! {
        #[test]
        fn a_wish_changes_nothing_else(names in proptest::collection::btree_map("[a-z}]{1,4}", ".{0,5}", 1..5), wish in prop_oneof![
            Just(Wish::Ids), Just(Wish::Usage)]) {
            let body = json!(names);
            let mut got: Value = serde_json::from_str(&added(wish, &body.to_string())).unwrap();
            let said = got.as_object_mut().unwrap().remove(wish.name()).unwrap();
            prop_assert!(said == true || said["continuous_usage_stats"] == true);
            prop_assert_eq!(got, body);
        }
    }
}
