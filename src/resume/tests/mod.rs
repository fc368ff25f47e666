mod model;
mod shapes;
mod streams;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::config::Engine;

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

fn transcript(kind: Kind, request: &Bytes, resume_max: u32) -> Result<Transcript, NotResumable> {
    begin(kind, Engine::Vllm, request, &conf(resume_max, 1 << 20))
}

fn begin(kind: Kind, engine: Engine, request: &Bytes, conf: &Retry) -> Result<Transcript, NotResumable> {
    let path = if kind == Kind::Chat { "/v1/chat/completions" } else { "/v1/completions" };
    let original = Original::read(kind, path, engine, conf, request)?;
    Ok(Transcript::begin(original, request, conf, Arc::default()))
}

/// The body of the next request.
fn asked(continuation: Result<Continuation, NotResumable>) -> Bytes {
    match continuation {
        Ok(Continuation::Ask(next)) => next.body,
        other => panic!("not continued: {other:?}"),
    }
}

#[test]
fn the_next_request_asks_for_the_rest_and_changes_nothing_else() {
    let text = br#"{"model": "m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}] ,"max_tokens":10,
        "min_tokens":4,"seed":18446744073709551617,"unknown":{"a":1.0},"stream":true}"#;
    let mut transcript = transcript(Kind::Chat, &Bytes::from_static(text), 1).unwrap();
    for word in ["a", "b \n"] {
        let event = json!({"choices": [{"index": 0, "delta": {"content": word}}]});
        transcript.deliver(format!("data: {event}\n\n").into());
    }
    let body = asked(transcript.continuation());
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"assistant","content":"ab"}],"max_tokens":8,"min_tokens":2,"seed":18446744073709551617,"unknown":{"a":1.0},"stream":true,"continue_final_message":true,"add_generation_prompt":false,"return_token_ids":true}"#
    );
    assert_eq!(transcript.continuation(), Err(NotResumable::UsedUp));
}

#[test]
fn answers_that_cannot_be_split_between_nodes_are_refused() {
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
        let refused = transcript(Kind::Completion, &request(Kind::Completion, more.clone()), 1).err();
        assert_eq!(refused, Some(want), "{more}");
    }
    let harmless = json!({"tools": [], "n": 1, "response_format": {"type": "text"}, "logprobs": false, "echo": false,
        "stop": ["\n"], "prompt": ["one"], "suffix": null});
    assert!(transcript(Kind::Completion, &request(Kind::Completion, harmless), 1).is_ok());
    assert_eq!(
        transcript(Kind::Chat, &Bytes::from_static(b"\x1f\x8b"), 1).err(),
        Some(NotResumable::NotUnderstood)
    );
}

/// The reason why the stream is not continued after these chunks.
fn refused_after(engine: Engine, more: Value, chunks: &[Value]) -> Option<NotResumable> {
    let request = request(Kind::Chat, more);
    let mut transcript = begin(Kind::Chat, engine, &request, &conf(1, 1024)).unwrap();
    for chunk in chunks {
        transcript.deliver(format!("data: {chunk}\n\n").into());
    }
    transcript.continuation().err()
}

#[test]
fn the_delivered_text_can_make_a_stream_not_resumable() {
    use Engine::{Generic, Vllm};
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
fn a_transcript_that_gave_up_keeps_nothing() {
    let mut transcript = transcript(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
    transcript.deliver(Bytes::from_static(
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"reasoning\":\"b\"}}]}\n\n",
    ));
    assert_eq!(transcript.not_resumable(), Some(NotResumable::Reasoning));
    assert_eq!((transcript.request.len(), transcript.delivered.text.capacity()), (0, 0));
    let event = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\n\n");
    assert_eq!(transcript.deliver(event.clone()), Some(event), "later events pass unchanged");
    assert_eq!(transcript.delivered.text.capacity(), 0);
}

#[test]
fn an_answer_that_the_client_prefilled_is_continued_in_the_same_message() {
    let request = Bytes::from_static(
        br#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"A "}],"stream":true,"continue_final_message":true,"add_generation_prompt":false}"#,
    );
    let mut transcript = transcript(Kind::Chat, &request, 1).unwrap();
    transcript.deliver(Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n"));
    let body = asked(transcript.continuation());
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "A b"}));
    assert_eq!(body["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn an_unreadable_event_is_passed_on_and_the_stream_is_not_continued() {
    let parts = r#"data: {"choices":[{"delta":{"content":[{"type":"text","text":"in parts"}]}}]}"#;
    let half = r#"data: {"choices":[{"delta":{"content":"\ud83e"}}]}"#;
    let lines = "data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"two lines\"}}]}";
    for event in [parts, half, lines] {
        let event = Bytes::from(format!("{event}\n\n"));
        let mut first = transcript(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
        assert_eq!(first.deliver(event.clone()), Some(event.clone()));
        assert_eq!(first.continuation(), Err(NotResumable::NotUnderstood), "{event:?}");

        let mut next = transcript(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
        next.deliver(Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"));
        next.continuation().unwrap();
        let out = String::from_utf8(next.deliver(event.clone()).unwrap().to_vec()).unwrap();
        for word in ["in parts", "ud83e", "two lines"] {
            assert_eq!(out.contains(word), String::from_utf8_lossy(&event).contains(word), "{out}");
        }
        assert_eq!(next.continuation(), Err(NotResumable::NotUnderstood), "{event:?}");
    }
}

#[test]
fn format_fields_that_are_null_are_ignored() {
    let more = json!({"guided_json": null, "guided_regex": null, "structured_outputs": null});
    assert!(transcript(Kind::Chat, &request(Kind::Chat, more), 1).is_ok());
    let embedded = request(Kind::Completion, json!({"prompt_embeds": "AAAA"}));
    assert_eq!(transcript(Kind::Completion, &embedded, 1).err(), Some(NotResumable::Several));
}

#[test]
fn a_request_for_the_usage_alone_asks_for_one_token() {
    for more in [json!({"max_tokens": 500, "min_tokens": 2}), json!({"max_tokens": null})] {
        let mut fields = json!({"stream_options": {"include_usage": true}});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut transcript = transcript(Kind::Chat, &request(Kind::Chat, fields), 1).unwrap();
        for (text, reason) in [("all", json!(null)), (" of it", json!("stop"))] {
            let event =
                json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]});
            transcript.deliver(format!("data: {event}\n\n").into());
        }
        let body = asked(transcript.continuation());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["max_tokens"], 1, "{body}");
        assert!(body["min_tokens"].as_u64().unwrap_or(0) <= 1, "{body}");
    }
}

#[test]
fn an_id_first_seen_in_a_later_event_is_kept_too() {
    let mut transcript = transcript(Kind::Chat, &request(Kind::Chat, json!({})), 1).unwrap();
    transcript.deliver(Bytes::from_static(b"data: {\"id\":\"\",\"model\":\"m\",\"choices\":[]}\n\n"));
    transcript.deliver(Bytes::from_static(
        b"data: {\"id\":\"one\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    ));
    transcript.continuation().unwrap();
    let event = b"data: {\"id\":\"two\",\"model\":\"n\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n";
    let out = transcript.deliver(Bytes::from_static(event)).unwrap();
    let out = std::str::from_utf8(&out).unwrap();
    assert!(out.contains("\"id\":\"one\"") && out.contains("\"model\":\"m\""), "{out}");
}

/// The engine here puts several tokens into one event and reports the running count in each.
#[test]
fn token_counts_of_the_engine_are_summed_over_all_segments() {
    let mut transcript = transcript(Kind::Completion, &request(Kind::Completion, json!({})), 2).unwrap();
    let mut say = |text: &str, said: u32, prompt: u32| {
        let usage =
            json!({"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said});
        let event = json!({"choices": [{"index": 0, "text": text}], "usage": usage});
        let out = transcript.deliver(format!("data: {event}\n\n").into()).unwrap();
        let out: Value = serde_json::from_slice(&out["data: ".len()..]).unwrap();
        assert_eq!(out["usage"]["prompt_tokens"], 10);
        (out["usage"]["completion_tokens"].as_u64().unwrap(), transcript.continuation())
    };
    for (text, said, prompt, total) in [("one two", 4, 10, 4), (" three four", 5, 14, 9)] {
        let (counted, next) = say(text, said, prompt);
        assert_eq!(counted, total);
        let body = asked(next);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["max_tokens"], 100 - total);
    }
}

/// An unknown engine's default limit is unknown too.
#[test]
fn an_assumed_limit_ends_no_stream() {
    use Engine::{Generic, Vllm};
    for (engine, want) in [(Generic, Err(NotResumable::NoLimit)), (Vllm, Ok(()))] {
        let request = Bytes::from_static(b"{\"model\":\"m\",\"prompt\":\"Tell:\",\"stream\":true}");
        let mut transcript = begin(Kind::Completion, engine, &request, &conf(1, 1024)).unwrap();
        for _ in 0..16 {
            transcript.deliver(Bytes::from_static(b"data: {\"choices\":[{\"text\":\" x\"}]}\n\n"));
        }
        assert_eq!(transcript.continuation().map(|_| ()), want, "{engine:?}");
    }
}

/// vLLM 0.32 was asked: of a chat's two limits the newer one counts, and a completion has only the older one.
#[test]
fn the_limit_is_the_one_that_the_engine_reads() {
    use Engine::{Generic, Llamacpp, Sglang, Vllm};
    use Kind::{Chat, Completion};
    let (old, new) = (json!({"max_tokens": 5}), json!({"max_completion_tokens": 7}));
    let both = json!({"max_tokens": 5, "max_completion_tokens": 7});
    let same = json!({"max_tokens": 7, "max_completion_tokens": 7});
    let null = json!({"max_tokens": 5, "max_completion_tokens": null});
    let refused = Err(NotResumable::NotUnderstood);
    let table = [
        (Vllm, Chat, [Ok(Some(5)), Ok(Some(7)), Ok(Some(7)), Ok(Some(7)), Ok(Some(5))]),
        (Vllm, Completion, [Ok(Some(5)), Ok(Some(16)), Ok(Some(5)), Ok(Some(7)), Ok(Some(5))]),
        (Sglang, Completion, [Ok(Some(5)), Ok(Some(16)), Ok(Some(5)), Ok(Some(7)), Ok(Some(5))]),
        (Sglang, Chat, [Ok(Some(5)), Ok(Some(7)), refused, Ok(Some(7)), Ok(Some(5))]),
        (Llamacpp, Completion, [Ok(Some(5)), Ok(Some(7)), refused, Ok(Some(7)), Ok(Some(5))]),
        (Generic, Chat, [Ok(Some(5)), Ok(Some(7)), refused, Ok(Some(7)), Ok(Some(5))]),
    ];
    for (engine, kind, want) in table {
        let limits = [&old, &new, &both, &same, &null].map(|limits| {
            let mut request = json!({"prompt": "p", "messages": [], "stream": true});
            request.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
            let request = Bytes::from(request.to_string());
            Original::read(kind, "/v1/completions", engine, &conf(1, 1024), &request).map(|read| read.limit)
        });
        assert_eq!(limits, want, "{engine:?} {kind:?}");
    }
    // a limit that vLLM does not read is not the only one of the next request
    let request = Bytes::from_static(b"{\"prompt\":\"p\",\"max_completion_tokens\":7,\"stream\":true}");
    let mut transcript = begin(Completion, Vllm, &request, &conf(1, 1024)).unwrap();
    transcript.deliver(Bytes::from_static(b"data: {\"choices\":[{\"text\":\" x\"}]}\n\n"));
    let body: Value = serde_json::from_slice(&asked(transcript.continuation())).unwrap();
    assert_eq!(body["max_tokens"], 15, "{body}");
}
