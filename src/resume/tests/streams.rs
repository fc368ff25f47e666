//! Streams that break anywhere: the client reads what it would have read of one that did not.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Continuation, Kind, NotResumable};
use super::model::{Model, PROMPT};
use super::{begin, conf};
use crate::config::Engine;

fn request(kind: Kind, more: &Value) -> Bytes {
    let mut request = json!({"model": "m", "stream": true});
    match kind {
        Kind::Chat => request["messages"] = json!([{"role": "user", "content": PROMPT}]),
        Kind::Completion => request["prompt"] = json!(PROMPT),
    }
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request.to_string().into()
}

/// The stream that a client reads whose nodes break off after so many events each.
fn received(
    model: &Model,
    kind: Kind,
    request: &Bytes,
    breaks: &[usize],
) -> Result<Vec<String>, NotResumable> {
    let conf = conf(u32::try_from(breaks.len()).unwrap(), 1 << 20);
    let mut transcript = begin(kind, model.engine, request, &conf)?;
    let first = transcript.original.for_node(request);
    let mut body = Bytes::from([&first.start[..], first.tail].concat());
    let mut out = Vec::new();
    let mut asked = kind;
    for (number, after) in breaks.iter().map(|after| Some(*after)).chain([None]).enumerate() {
        let events = model.events(asked, &body, &format!("node-{number}"));
        let count = after.map_or(events.len(), |after| after.min(events.len() - 1));
        for event in &events[..count] {
            out.extend(transcript.deliver(Bytes::from(event.clone())));
        }
        if after.is_some() {
            match transcript.continuation()? {
                Continuation::Ask(next) => {
                    assert!(
                        next.path
                            .as_deref()
                            .is_none_or(|path| kind == Kind::Chat && path == "/v1/completions")
                    );
                    asked = if next.path.is_some() { Kind::Completion } else { kind };
                    body = next.body;
                }
                Continuation::Finish(rest) => {
                    out.push(rest);
                    break;
                }
            }
        }
    }
    Ok(out.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect())
}

/// A stream as its client reads it.
#[derive(Debug, PartialEq)]
struct Read {
    text: String,
    finish: Vec<Value>,
    ids: Vec<Value>,
    usage: Option<Value>,
}

fn read(kind: Kind, events: &[String]) -> Read {
    let joined = events.concat();
    let events: Vec<_> = joined.split_terminator("\n\n").collect();
    let (done, events) = events.split_last().unwrap();
    assert_eq!(*done, "data: [DONE]");
    let mut read = Read { text: String::new(), finish: vec![], ids: vec![], usage: None };
    let object = if kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" };
    let (mut counted, mut identity) = (0, None);
    for event in events {
        let event: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        let now = ["id", "model", "created"].map(|key| event[key].clone());
        assert_eq!(*identity.get_or_insert(now.clone()), now, "{event}");
        assert_eq!(event["object"], object, "{event}");
        if !event["usage"].is_null() {
            let now = event["usage"]["completion_tokens"].as_u64().unwrap();
            assert!(now >= counted, "{event}");
            counted = now;
            read.usage = Some(event["usage"].clone());
        }
        for choice in event["choices"].as_array().unwrap() {
            let text = if kind == Kind::Chat { &choice["delta"]["content"] } else { &choice["text"] };
            read.text.push_str(text.as_str().unwrap_or_default());
            read.finish.extend((!choice["finish_reason"].is_null()).then(|| choice["finish_reason"].clone()));
            read.ids.extend(choice["token_ids"].as_array().into_iter().flatten().cloned());
        }
    }
    let roles = joined.matches("\"role\":\"").count();
    assert_eq!(roles, usize::from(kind == Kind::Chat));
    read
}

/// Runs of tokens whose bytes are whole characters.
fn answers(units: &'static [&'static [u32]]) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(proptest::sample::select(units), 1..12).prop_map(|units| units.concat())
}

const PLAIN: &[&[u32]] = &[&[0], &[1], &[2], &[11]];
const CHARACTERS: &[&[u32]] = &[&[0], &[1], &[2], &[4, 5], &[6, 7], &[8], &[11]];
const ALL: &[&[u32]] = &[&[0], &[1], &[2], &[3], &[4, 5], &[6, 7], &[8], &[9, 10], &[11]];

#[derive(Debug, Clone)]
struct Wanted {
    usage: bool,
    counts: bool,
    ids: bool,
    max: Option<u64>,
    breaks: Vec<usize>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let max = proptest::option::weighted(0.8, 1_u64..14);
    let breaks = proptest::collection::vec(0_usize..14, 1..4);
    (any::<bool>(), any::<bool>(), any::<bool>(), max, breaks).prop_map(
        |(usage, counts, ids, max, breaks)| Wanted { usage, counts: usage && counts, ids, max, breaks },
    )
}

fn of(kind: Kind, wanted: &Wanted) -> Bytes {
    let mut more = json!({});
    if wanted.usage {
        more["stream_options"] = json!({"include_usage": true, "continuous_usage_stats": wanted.counts});
    }
    if wanted.ids {
        more["return_token_ids"] = json!(true);
    }
    // a completion without a limit ends after 16 tokens
    if let Some(max) = wanted.max.or((kind == Kind::Completion).then_some(16)) {
        more["max_tokens"] = json!(max);
    }
    request(kind, &more)
}

/// The client reads the same, or learns that it cannot: where it wants ids that another node would say otherwise.
fn reads_the_same(model: &Model, kind: Kind, wanted: &Wanted) -> Result<(), TestCaseError> {
    let request = of(kind, wanted);
    let undisturbed = model.events(kind, &request, "node-0");
    let whole = received(model, kind, &request, &[]).unwrap();
    prop_assert_eq!(whole.concat(), undisturbed.concat(), "an undisturbed stream keeps its bytes");
    let got = match received(model, kind, &request, &wanted.breaks) {
        Err(NotResumable::WantsIds) if wanted.ids => return Ok(()),
        got => got.unwrap(),
    };
    prop_assert_eq!(read(kind, &got), read(kind, &undisturbed));
    Ok(())
}

fn kind_of(is_chat: bool) -> Kind {
    if is_chat { Kind::Chat } else { Kind::Completion }
}

proptest! {
    #[test]
    fn vllm_with_one_token_an_event(answer in answers(ALL), is_chat: bool, wanted in wanted()) {
        let model = Model { engine: Engine::Vllm, answer, groups: vec![1] };
        reads_the_same(&model, kind_of(is_chat), &wanted)?;
    }

    #[test]
    fn vllm_with_several_tokens_an_event(answer in answers(PLAIN), groups in proptest::collection::vec(1_usize..5, 1..4),
        is_chat: bool, wanted in wanted()) {
        let model = Model { engine: Engine::Vllm, answer, groups };
        reads_the_same(&model, kind_of(is_chat), &wanted)?;
    }

    #[test]
    fn sglang_completions_with_one_token_an_event(answer in answers(CHARACTERS), wanted in wanted()) {
        let model = Model { engine: Engine::Sglang, answer, groups: vec![1] };
        reads_the_same(&model, Kind::Completion, &wanted)?;
    }

    #[test]
    fn sglang_completions_with_several_tokens_an_event(answer in answers(PLAIN), groups in proptest::collection::vec(1_usize..5, 1..4),
        wanted in wanted()) {
        let model = Model { engine: Engine::Sglang, answer, groups };
        reads_the_same(&model, Kind::Completion, &wanted)?;
    }

    #[test]
    fn sglang_chats(answer in answers(PLAIN), groups in proptest::collection::vec(1_usize..5, 1..4), wanted in wanted()) {
        let model = Model { engine: Engine::Sglang, answer, groups };
        // it refuses a streamed chat that asks for ids
        reads_the_same(&model, Kind::Chat, &Wanted { ids: false, ..wanted })?;
    }

    /// Text that is held back for a stop string is said anew: all of it comes, and never more tokens than were asked for.
    #[test]
    fn vllm_with_a_stop_string(answer in answers(PLAIN), groups in proptest::collection::vec(1_usize..5, 1..4),
        stop in "#{1,9}", is_chat: bool, max in 1_u64..14, breaks in proptest::collection::vec(0_usize..14, 1..4)) {
        let (model, kind) = (Model { engine: Engine::Vllm, answer, groups }, kind_of(is_chat));
        let request = request(kind, &json!({"stop": stop, "max_tokens": max}));
        let got = read(kind, &received(&model, kind, &request, &breaks).unwrap());
        let want = read(kind, &model.events(kind, &request, "node-0"));
        prop_assert!(want.text.starts_with(&got.text), "{got:?} {want:?}");
    }
}
