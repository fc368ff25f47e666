use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const WORDS: [&str; 9] = ["Once", " upon", " a", " time,", " there", "\n\n", "was", " \"ä\"", " 🦀"];
const PROMPT_IDS: [u32; 2] = [11, 12];

/// An engine that goes on with `WORDS` wherever it is asked to.
struct Engine<'a> {
    request: &'a [u8],
    name: &'a str,
}

impl Engine<'_> {
    /// The events of its whole answer.
    fn answer(&self, kind: Kind) -> Vec<String> {
        let request: Value = serde_json::from_slice(self.request).unwrap();
        let (start, prompt) = self.start(kind, &request);
        let limit = request["max_tokens"].as_u64().unwrap() as usize;
        let end = WORDS.len().min(start + limit);
        let ids = request["return_token_ids"] == true;
        let mut events = Vec::new();
        let mut push = |choices: Value, usage: Option<Value>| {
            let mut event =
                json!({"id": self.name, "created": self.name.len(), "model": self.name, "choices": choices});
            usage.into_iter().for_each(|usage| event["usage"] = usage);
            events.push(format!("data: {event}\n\n"));
        };
        if kind == Kind::Chat {
            push(json!([{"index": 0, "delta": {"role": "assistant", "content": ""}}]), None);
        }
        for (number, word) in WORDS.iter().enumerate().take(end).skip(start) {
            let mut choice = match kind {
                Kind::Chat => json!({"index": 0, "delta": {"content": word}, "finish_reason": null}),
                Kind::Completion => json!({"index": 0, "text": word, "finish_reason": null}),
            };
            if ids {
                choice["token_ids"] = json!([100 + number]);
                choice["prompt_token_ids"] = if number == start { json!(PROMPT_IDS) } else { Value::Null };
            }
            push(json!([choice]), None);
        }
        let reason = if end - start < limit { "stop" } else { "length" };
        let nothing = if kind == Kind::Chat { json!({"delta": {}}) } else { json!({"text": ""}) };
        let mut last = json!({"index": 0, "finish_reason": reason});
        last.as_object_mut().unwrap().extend(nothing.as_object().unwrap().clone());
        push(json!([last]), None);
        if request["stream_options"]["include_usage"] == true {
            let (prompt, said) = (prompt + start, end - start);
            let usage =
                json!({"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said});
            push(json!([]), Some(usage));
        }
        events.push("data: [DONE]\n\n".into());
        events
    }

    /// How many words the request brings with it, and the tokens of its prompt proper.
    fn start(&self, kind: Kind, request: &Value) -> (usize, usize) {
        let said = match kind {
            Kind::Chat if request["continue_final_message"] == true => {
                assert_eq!(request["add_generation_prompt"], false);
                let messages = request["messages"].as_array().unwrap();
                assert_eq!(messages.len(), 2);
                assert_eq!(messages[1]["role"], "assistant");
                messages[1]["content"].as_str().unwrap().to_owned()
            }
            Kind::Chat => String::new(),
            Kind::Completion => match &request["prompt"] {
                Value::Array(ids) => return (ids.len() - PROMPT_IDS.len(), PROMPT_IDS.len()),
                prompt => prompt.as_str().unwrap().strip_prefix("Tell:").unwrap().to_owned(),
            },
        };
        let whole = WORDS.concat();
        assert!(whole.starts_with(&said), "{said:?}");
        let mut length = 0;
        let fits = |word: &&&str| {
            length += word.len();
            length <= said.len()
        };
        (WORDS.iter().take_while(fits).count(), PROMPT_IDS.len())
    }
}

fn request(kind: Kind, more: Value) -> Bytes {
    let mut request = match kind {
        Kind::Chat => json!({"messages": [{"role": "user", "content": "Tell:"}]}),
        Kind::Completion => json!({"prompt": "Tell:"}),
    };
    let base = json!({"model": "m", "stream": true, "max_tokens": 100});
    for part in [base, more] {
        request.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    }
    request.to_string().into()
}

fn conf(resume_max: u32, resume_text_max: usize) -> Retry {
    Retry { resume: true, resume_max, resume_text_max, ..Retry::default() }
}

fn story(kind: Kind, request: &Bytes, resume_max: u32) -> Result<Transcript, NotResumable> {
    Transcript::begin(kind, crate::config::Engine::Vllm, request, &conf(resume_max, 1 << 20))
}

/// What the client gets if the first nodes break off after so many events each.
fn told(kind: Kind, request: &Bytes, breaks: &[usize]) -> Vec<String> {
    let mut story = story(kind, request, breaks.len() as u32).unwrap();
    let mut out = Vec::new();
    let mut body = request.clone();
    for (number, after) in breaks.iter().map(|after| Some(*after)).chain([None]).enumerate() {
        let name = format!("node-{number}");
        let events = Engine { request: &body, name: &name }.answer(kind);
        let count = after.map_or(events.len(), |after| after.min(events.len() - 1));
        for event in &events[..count] {
            out.extend(story.tell(Bytes::from(event.clone())));
        }
        if after.is_some() {
            match story.go_on().unwrap() {
                Continuation::Ask(next) => body = next,
                Continuation::Finish(rest) => {
                    out.push(rest);
                    break;
                }
            }
        }
    }
    out.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
}

/// What a client makes of it: text, finish reasons, ids, usage.
fn read(events: &[String]) -> (String, Vec<Value>, Vec<Value>, Vec<Value>) {
    let mut read = (String::new(), Vec::new(), Vec::new(), Vec::new());
    let joined = events.concat();
    let events: Vec<_> = joined.split_terminator("\n\n").collect();
    let (done, events) = events.split_last().unwrap();
    let mut identity = None;
    assert_eq!(*done, "data: [DONE]");
    for event in events {
        let event: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        let whose = ["id", "created", "model"].map(|key| event[key].clone());
        assert_eq!(*identity.get_or_insert(whose.clone()), whose);
        if !event["usage"].is_null() {
            read.3.push(event["usage"].clone());
        }
        for choice in event["choices"].as_array().unwrap() {
            let text = choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default();
            read.0.push_str(text);
            read.1.extend((!choice["finish_reason"].is_null()).then(|| choice["finish_reason"].clone()));
            read.2.extend(choice["token_ids"].as_array().into_iter().flatten().cloned());
        }
    }
    let roles = joined.matches("\"role\"").count();
    assert!(roles <= 1, "{roles} roles");
    read
}

proptest! {
    #[test]
    fn wherever_it_breaks_the_client_reads_the_same(
        is_chat: bool, usage: bool, ids: bool, max in 1_usize..12, breaks in proptest::collection::vec(0_usize..12, 1..4)
    ) {
        let kind = if is_chat { Kind::Chat } else { Kind::Completion };
        let request = request(kind, json!({
            "stream_options": {"include_usage": usage}, "return_token_ids": ids, "max_tokens": max,
        }));
        let want = read(&told(kind, &request, &[]));
        let got = read(&told(kind, &request, &breaks));
        prop_assert_eq!(&got.0, &want.0);
        prop_assert_eq!(&got.1, &want.1);
        prop_assert_eq!(got.3.len(), want.3.len());
        prop_assert_eq!(&got.3, &want.3);
        if !is_chat {
            prop_assert_eq!(&got.2, &want.2);
        }
    }
}

#[test]
fn the_next_request_asks_for_the_rest_and_changes_nothing_else() {
    let text = br#"{"model": "m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}] ,"max_tokens":10,
        "min_tokens":4,"seed":18446744073709551617,"unknown":{"a":1.0},"stream":true}"#;
    let mut story = story(Kind::Chat, &Bytes::from_static(text), 1).unwrap();
    for word in ["a", "b \n"] {
        let event = json!({"choices": [{"index": 0, "delta": {"content": word}}]});
        story.tell(format!("data: {event}\n\n").into());
    }
    let Ok(Continuation::Ask(body)) = story.go_on() else { panic!("it goes on") };
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"assistant","content":"ab"}],"max_tokens":8,"min_tokens":2,"seed":18446744073709551617,"unknown":{"a":1.0},"stream":true,"continue_final_message":true,"add_generation_prompt":false}"#
    );
    assert_eq!(story.go_on(), Err(NotResumable::UsedUp));
}

#[test]
fn what_cannot_be_cut_in_two_is_refused() {
    let table = [
        (json!({"tools": [{"type": "function"}]}), NotResumable::Tools),
        (json!({"functions": [{}]}), NotResumable::Tools),
        (json!({"response_format": {"type": "json_object"}}), NotResumable::Format),
        (json!({"guided_regex": "a*"}), NotResumable::Format),
        (json!({"structured_outputs": {"regex": "a"}}), NotResumable::Format),
        (json!({"n": 2}), NotResumable::Several),
        (json!({"best_of": 3}), NotResumable::Several),
        (json!({"prompt": ["a", "b"]}), NotResumable::Several),
        (json!({"prompt": [[1], [2]]}), NotResumable::Several),
        (json!({"logprobs": 0}), NotResumable::Logprobs),
        (json!({"logprobs": true}), NotResumable::Logprobs),
        (json!({"echo": true}), NotResumable::Echo),
        (json!({"suffix": "end"}), NotResumable::Echo),
        (json!({"stop": 7}), NotResumable::NotUnderstood),
        (json!({"max_tokens": 10.0}), NotResumable::NotUnderstood),
        (json!({"max_tokens": 0}), NotResumable::NotUnderstood),
        (json!({"n_predict": -1}), NotResumable::NotUnderstood),
    ];
    for (more, want) in table {
        let refused = story(Kind::Completion, &request(Kind::Completion, more.clone()), 1).err();
        assert_eq!(refused, Some(want), "{more}");
    }
    let harmless = json!({"tools": [], "n": 1, "response_format": {"type": "text"}, "logprobs": false, "echo": false,
        "stop": ["\n"], "prompt": ["one"], "suffix": null});
    assert!(story(Kind::Completion, &request(Kind::Completion, harmless), 1).is_ok());
    assert_eq!(
        story(Kind::Chat, &Bytes::from_static(b"\x1f\x8b"), 1).err(),
        Some(NotResumable::NotUnderstood)
    );
}

/// Why it is not continued after these chunks.
fn refused_after(engine: crate::config::Engine, more: Value, chunks: &[Value]) -> Option<NotResumable> {
    let request = request(Kind::Chat, more);
    let mut story = Transcript::begin(Kind::Chat, engine, &request, &conf(1, 1024)).unwrap();
    for chunk in chunks {
        story.tell(format!("data: {chunk}\n\n").into());
    }
    story.go_on().err()
}

#[test]
fn what_was_said_may_refuse_it_too() {
    use crate::config::Engine::{Generic, Vllm};
    let says = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let table = [
        (Vllm, json!({}), says("plain"), None),
        (Vllm, json!({"stop": "END"}), says("the EN"), Some(NotResumable::Stop)),
        (Vllm, json!({"stop": ["x", "\n\n"]}), says("the\n"), Some(NotResumable::Stop)),
        (Vllm, json!({"stop": "END"}), says("the EN of"), None),
        (Vllm, json!({"stop": "END", "no_stop_trim": true}), says("the END"), Some(NotResumable::Stop)),
        (Vllm, json!({}), says("so it is</think>42"), Some(NotResumable::Reasoning)),
        (Vllm, json!({}), says("half \u{fffd}"), Some(NotResumable::HalfCharacter)),
        (Vllm, json!({}), says("<think>so"), Some(NotResumable::Reasoning)),
        (Vllm, json!({}), delta(json!({"reasoning_content": "so"})), Some(NotResumable::Reasoning)),
        (Vllm, json!({}), delta(json!({"tool_calls": [{}]})), Some(NotResumable::Tools)),
        (Vllm, json!({}), json!({"choices": [{"index": 1, "delta": {}}]}), Some(NotResumable::Several)),
        (Vllm, json!({}), json!("no object"), Some(NotResumable::NotUnderstood)),
        (Vllm, json!({}), says(&"long ".repeat(300)), Some(NotResumable::TooLong)),
        (Generic, json!({}), says("plain"), Some(NotResumable::Engine)),
        (Generic, json!({}), delta(json!({"role": "assistant", "content": ""})), None),
    ];
    for (engine, more, chunk, want) in table {
        let chunk = [chunk];
        assert_eq!(
            refused_after(engine, more, &chunk),
            want,
            "{}",
            chunk[0].to_string().chars().take(80).collect::<String>()
        );
    }
}

#[test]
fn a_story_that_is_lost_keeps_nothing() {
    let mut story = story(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
    story.tell(Bytes::from_static(
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"reasoning\":\"b\"}}]}\n\n",
    ));
    assert_eq!(story.lost(), Some(NotResumable::Reasoning));
    assert_eq!((story.request.len(), story.heard.text.capacity()), (0, 0));
    let event = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\n\n");
    assert_eq!(story.tell(event.clone()), Some(event), "what comes goes on as it is");
    assert_eq!(story.heard.text.capacity(), 0);
}

#[test]
fn a_chat_that_the_client_began_itself_goes_on_in_the_same_message() {
    let request = Bytes::from_static(
        br#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"A "}],"continue_final_message":true,"add_generation_prompt":false}"#,
    );
    let mut story = story(Kind::Chat, &request, 1).unwrap();
    story.tell(Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n"));
    let Ok(Continuation::Ask(body)) = story.go_on() else { panic!("it goes on") };
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "A b"}));
    assert_eq!(body["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn what_the_story_cannot_read_is_not_continued_and_reaches_the_client_all_the_same() {
    let parts = r#"data: {"choices":[{"delta":{"content":[{"type":"text","text":"in parts"}]}}]}"#;
    let half = r#"data: {"choices":[{"delta":{"content":"\ud83e"}}]}"#;
    let lines = "data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"two lines\"}}]}";
    for event in [parts, half, lines] {
        let event = Bytes::from(format!("{event}\n\n"));
        let mut first = story(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
        assert_eq!(first.tell(event.clone()), Some(event.clone()));
        assert_eq!(first.go_on(), Err(NotResumable::NotUnderstood), "{event:?}");

        let mut next = story(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
        next.tell(Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"));
        next.go_on().unwrap();
        let told = String::from_utf8(next.tell(event.clone()).unwrap().to_vec()).unwrap();
        for word in ["in parts", "ud83e", "two lines"] {
            assert_eq!(told.contains(word), String::from_utf8_lossy(&event).contains(word), "{told}");
        }
        assert_eq!(next.go_on(), Err(NotResumable::NotUnderstood), "{event:?}");
    }
}

#[test]
fn fields_that_are_null_bind_to_no_format() {
    let more = json!({"guided_json": null, "guided_regex": null, "structured_outputs": null});
    assert!(story(Kind::Chat, &request(Kind::Chat, more), 1).is_ok());
    let embedded = request(Kind::Completion, json!({"prompt_embeds": "AAAA"}));
    assert_eq!(story(Kind::Completion, &embedded, 1).err(), Some(NotResumable::Several));
}

#[test]
fn who_is_asked_for_the_usage_alone_says_as_little_as_can_be() {
    for more in [json!({"max_tokens": 500, "min_tokens": 2}), json!({"max_tokens": null})] {
        let mut asked = json!({"stream_options": {"include_usage": true}});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut story = story(Kind::Chat, &request(Kind::Chat, asked), 1).unwrap();
        for (text, reason) in [("all", json!(null)), (" of it", json!("stop"))] {
            let event =
                json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]});
            story.tell(format!("data: {event}\n\n").into());
        }
        let Ok(Continuation::Ask(body)) = story.go_on() else { panic!("the usage is missing") };
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["max_tokens"], 1, "{body}");
        assert!(body["min_tokens"].as_u64().unwrap_or(0) <= 1, "{body}");
    }
}

#[test]
fn what_is_known_only_from_a_later_event_is_kept_too() {
    let mut story = story(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
    story.tell(Bytes::from_static(b"data: {\"id\":\"\",\"model\":\"m\",\"choices\":[]}\n\n"));
    story.tell(Bytes::from_static(
        b"data: {\"id\":\"one\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    ));
    story.go_on().unwrap();
    let event = b"data: {\"id\":\"two\",\"model\":\"n\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n";
    let told = story.tell(Bytes::from_static(event)).unwrap();
    let told = std::str::from_utf8(&told).unwrap();
    assert!(told.contains("\"id\":\"one\"") && told.contains("\"model\":\"m\""), "{told}");
}

/// An engine that puts several tokens into one event, and counts in each event what it has said.
#[test]
fn tokens_that_the_engine_counts_are_counted_over_all_parts() {
    let mut story = story(Kind::Completion, &request(Kind::Completion, json!({})), 2).unwrap();
    let mut say = |text: &str, said: u32, prompt: u32| {
        let usage =
            json!({"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said});
        let event = json!({"choices": [{"index": 0, "text": text}], "usage": usage});
        let told = story.tell(format!("data: {event}\n\n").into()).unwrap();
        let told: Value = serde_json::from_slice(&told["data: ".len()..]).unwrap();
        assert_eq!(told["usage"]["prompt_tokens"], 10);
        (told["usage"]["completion_tokens"].as_u64().unwrap(), story.go_on())
    };
    for (text, said, prompt, total) in [("one two", 4, 10, 4), (" three four", 5, 14, 9)] {
        let (counted, next) = say(text, said, prompt);
        assert_eq!(counted, total);
        let Ok(Continuation::Ask(body)) = next else { panic!("{next:?}") };
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["max_tokens"], 100 - total);
    }
}

/// What an unknown engine may say where the request sets no limit is not known either.
#[test]
fn a_limit_that_is_only_supposed_ends_no_stream() {
    use crate::config::Engine::{Generic, Vllm};
    for (engine, want) in [(Generic, Err(NotResumable::NoLimit)), (Vllm, Ok(()))] {
        let request = Bytes::from_static(b"{\"model\":\"m\",\"prompt\":\"Tell:\",\"stream\":true}");
        let mut story = Transcript::begin(Kind::Completion, engine, &request, &conf(1, 1024)).unwrap();
        for _ in 0..16 {
            story.tell(Bytes::from_static(b"data: {\"choices\":[{\"text\":\" x\"}]}\n\n"));
        }
        assert_eq!(story.go_on().map(|_| ()), want, "{engine:?}");
    }
}
