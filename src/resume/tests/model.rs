//! Engines that always give the same answer, and go on with it from wherever a request stops. Their events have the form of
//! vLLM 0.32.0 (read from its wire) and SGLang 0.5.23 (read in its source).

use serde_json::Value;

use super::super::Kind;
use crate::config::Engine;

pub(super) const PROMPT: &str = "Tell:";
pub(super) const PROMPT_IDS: [u32; 2] = [1001, 1002];

/// The bytes of each token: words, white space, halves of characters, and one that has no text.
pub(super) const TOKENS: [&[u8]; 12] = [
    b"Once",
    b" upon",
    b" \"a\"",
    b"\n",
    b"\xc3",
    b"\xa9",
    b"\xe6\x97",
    b"\xa5",
    b"",
    b" \xf0\x9f",
    b"\xa6\x80",
    b"x",
];

/// The ids from here on are those of a text with so many bytes.
const TEXT: u32 = 3000;
/// The rest of a token of which a part is in the prompt.
const REST: u32 = 2000;

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub engine: Engine,
    /// Ids of the whole answer.
    pub answer: Vec<u32>,
    /// Tokens in each event, over and over.
    pub groups: Vec<usize>,
}

/// A token that is said, as its id and bytes.
type Said = (u32, Vec<u8>);

impl Model {
    /// The events that answer a request.
    pub(super) fn events(&self, kind: Kind, body: &[u8], name: &str) -> Vec<String> {
        let request: Value = serde_json::from_slice(body).unwrap();
        let (prompt, mut left) = self.start(kind, &request);
        let limit = request["max_tokens"].as_u64().or(request["max_completion_tokens"].as_u64());
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let reason = if left.len() >= limit { "length" } else { "stop" };
        left.truncate(limit);
        let options = &request["stream_options"];
        let form = Form {
            engine: self.engine,
            kind,
            name,
            ids: request["return_token_ids"] == true,
            counts: options["continuous_usage_stats"] == true,
            prompt,
        };
        assert!(
            !(form.ids && self.engine == Engine::Sglang && kind == Kind::Chat),
            "400: not supported with streaming"
        );
        let mut events = if kind == Kind::Chat { vec![form.role()] } else { vec![] };
        self.say(&form, &left, reason, held_back(self.engine, &request), &mut events);
        if options["include_usage"] == true {
            events.push(form.last(left.len()));
        }
        events.push("data: [DONE]\n\n".to_owned());
        events
    }

    fn say(&self, form: &Form, left: &[Said], reason: &str, held_back: usize, events: &mut Vec<String>) {
        let mut groups = self.groups.iter().cycle();
        let (mut said, mut told, mut whole) = (0, String::new(), String::new());
        while said < left.len() || left.is_empty() {
            let before = said;
            said = (said + groups.next().unwrap()).min(left.len());
            let is_last = said == left.len();
            let text = match self.engine {
                Engine::Sglang if is_last => String::from_utf8_lossy(&joined(&left[..said])).into_owned(),
                engine => shown(engine, &left[..said], &whole, if is_last { 0 } else { held_back }),
            };
            if let Ok(text) = String::from_utf8(joined(&left[..said])) {
                whole = text;
            }
            let new = text.get(told.len()..).unwrap_or_default();
            let ids: Vec<_> = left[before..said].iter().map(|(id, _)| *id).collect();
            let ends_itself = self.engine == Engine::Sglang && form.kind == Kind::Chat;
            let finish = (is_last && !ends_itself).then_some(reason);
            if !ends_itself || !new.is_empty() {
                events.push(form.event(new, &ids, before == 0, finish, said));
            }
            if text.len() > told.len() {
                told = text;
            }
            if is_last {
                if ends_itself {
                    events.push(form.end(reason));
                }
                return;
            }
        }
    }

    /// The ids of the request's prompt, and what is left to be said.
    fn start(&self, kind: Kind, request: &Value) -> (Vec<u32>, Vec<Said>) {
        let text = match kind {
            Kind::Chat if request["continue_final_message"] == true => {
                assert_eq!(request["add_generation_prompt"], false);
                let messages = request["messages"].as_array().unwrap();
                assert_eq!((messages.len(), &messages[1]["role"]), (2, &Value::from("assistant")));
                messages[1]["content"].as_str().unwrap().to_owned()
            }
            Kind::Chat => String::new(),
            Kind::Completion => match &request["prompt"] {
                Value::Array(ids) => {
                    let ids = ids.iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap());
                    return self.after_ids(ids.collect());
                }
                prompt => prompt.as_str().unwrap().strip_prefix(PROMPT).unwrap().to_owned(),
            },
        };
        let all: Vec<u8> = self.answer.iter().flat_map(|id| TOKENS[*id as usize]).copied().collect();
        assert!(all.starts_with(text.as_bytes()), "{text:?}");
        let mut prompt = PROMPT_IDS.to_vec();
        if !text.is_empty() {
            // the text in one token, whatever its tokens were
            prompt.push(TEXT + u32::try_from(text.len()).unwrap());
        }
        (prompt, self.after_text(text.len()))
    }

    fn after_ids(&self, prompt: Vec<u32>) -> (Vec<u32>, Vec<Said>) {
        let said = prompt.strip_prefix(&PROMPT_IDS).unwrap();
        let (length, said) = match said.split_first() {
            Some((first, others)) if *first > TEXT => (first - TEXT, others),
            _ => (0, said),
        };
        let mut left = self.after_text(length as usize);
        let rest = left.split_off(said.len());
        assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), said, "what was said");
        // a half token's rest may begin within a character
        let is_whole =
            left.first().is_some_and(|(id, _)| *id == REST) || String::from_utf8(joined(&left)).is_ok();
        assert!(is_whole, "the detokenizer would repeat the whole prompt");
        (prompt, rest)
    }

    /// The rest after so many bytes of text.
    fn after_text(&self, mut length: usize) -> Vec<Said> {
        let mut left = Vec::new();
        for id in &self.answer {
            let bytes = TOKENS[*id as usize];
            let told = bytes.len().min(length);
            if length == 0 {
                left.push((*id, bytes.to_vec()));
            } else if told < bytes.len() {
                left.push((REST, bytes[told..].to_vec()));
            }
            length -= told;
        }
        left
    }
}

fn held_back(engine: Engine, request: &Value) -> usize {
    let stop = request["stop"].as_str().unwrap_or_default();
    if engine == Engine::Vllm { stop.len().saturating_sub(1) } else { 0 }
}

fn joined(said: &[Said]) -> Vec<u8> {
    said.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

/// The text that an engine has told after these tokens. `whole`: what it had told when last no character was cut.
fn shown(engine: Engine, said: &[Said], whole: &str, held_back: usize) -> String {
    let text = match (engine, String::from_utf8(joined(said))) {
        (_, Ok(text)) => text,
        // what stands before the last space is told, though the rest ends in half a character
        (Engine::Sglang, Err(_)) => {
            let rest = String::from_utf8_lossy(&joined(said)[whole.len()..]).into_owned();
            whole.to_owned() + &rest[..rest.rfind(' ').map_or(0, |space| space + 1)]
        }
        (_, Err(_)) => {
            let before = |count: usize| String::from_utf8(joined(&said[..count])).ok();
            (0..said.len()).rev().find_map(before).unwrap()
        }
    };
    let kept = text.chars().count().saturating_sub(held_back);
    text.chars().take(kept).collect()
}

struct Form<'a> {
    engine: Engine,
    kind: Kind,
    name: &'a str,
    ids: bool,
    counts: bool,
    prompt: Vec<u32>,
}

impl Form<'_> {
    fn frame(&self, choices: &str, more: &str) -> String {
        let object = if self.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" };
        let Self { name, .. } = self;
        let created = name.len();
        format!(
            "data: {{\"id\":\"{name}\",\"object\":\"{object}\",\"created\":{created},\"model\":\"{name}\",\"choices\":[{choices}]{more}}}\n\n"
        )
    }

    fn usage(&self, said: usize) -> String {
        let prompt = self.prompt.len();
        format!(
            ",\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{said}}}",
            prompt + said
        )
    }

    fn last(&self, said: usize) -> String {
        self.frame("", &self.usage(said))
    }

    fn counted(&self, said: usize) -> String {
        match self.engine {
            _ if self.counts => self.usage(said),
            Engine::Sglang if self.kind == Kind::Completion => ",\"usage\":null".to_owned(),
            _ => String::new(),
        }
    }

    fn role(&self) -> String {
        let (choice, more) = match self.engine {
            Engine::Vllm => (
                r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#,
                format!(
                    "{},\"prompt_token_ids\":{},\"prompt_text\":null",
                    self.counted(0),
                    self.null_or(&self.prompt)
                ),
            ),
            _ => (
                r#"{"index":0,"delta":{"reasoning_content":null,"role":"assistant","content":""},"logprobs":null,"finish_reason":null,"matched_stop":null}"#,
                String::new(),
            ),
        };
        self.frame(choice, &more)
    }

    fn null_or(&self, ids: &[u32]) -> String {
        if self.ids { serde_json::to_string(ids).unwrap() } else { "null".to_owned() }
    }

    fn event(&self, text: &str, ids: &[u32], is_first: bool, finish: Option<&str>, said: usize) -> String {
        let text = serde_json::to_string(text).unwrap();
        let finish = finish.map_or("null".to_owned(), |reason| format!("\"{reason}\""));
        let prompt = if is_first { self.null_or(&self.prompt) } else { "null".to_owned() };
        let ids = self.null_or(ids);
        let choice = match (self.engine, self.kind) {
            (Engine::Vllm, Kind::Chat) => {
                let stop = if finish == "null" { "" } else { "\"stop_reason\":null," };
                format!(
                    r#"{{"index":0,"delta":{{"content":{text}}},"logprobs":null,"finish_reason":{finish},{stop}"token_ids":{ids}}}"#
                )
            }
            (Engine::Vllm, Kind::Completion) => format!(
                r#"{{"index":0,"text":{text},"logprobs":null,"finish_reason":{finish},"stop_reason":null,"prompt_token_ids":{prompt},"token_ids":{ids}}}"#
            ),
            (_, Kind::Chat) => format!(
                r#"{{"index":0,"delta":{{"reasoning_content":null,"role":null,"content":{text}}},"logprobs":null,"finish_reason":{finish},"matched_stop":null}}"#
            ),
            (_, Kind::Completion) => {
                let mut more = String::new();
                if self.ids {
                    more = format!(",\"token_ids\":{ids}");
                    if is_first {
                        more += &format!(",\"prompt_token_ids\":{prompt}");
                    }
                }
                format!(
                    r#"{{"index":0,"text":{text},"logprobs":null,"finish_reason":{finish},"matched_stop":null{more}}}"#
                )
            }
        };
        self.frame(&choice, &self.counted(said))
    }

    /// SGLang's chats end with an event of its own.
    fn end(&self, reason: &str) -> String {
        self.frame(
            &format!(r#"{{"index":0,"delta":{{"reasoning_content":null,"role":null,"content":null}},"logprobs":null,"finish_reason":"{reason}","matched_stop":null}}"#),
            "",
        )
    }
}
