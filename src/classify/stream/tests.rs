//! Streams of every dialect: whole, cut, with errors first and later; and any split of their bytes.

use proptest::prelude::*;

use super::*;

const TOKEN: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const ABORT: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\": \"abort\"}]}\r\n\r\n";
const DEAD: &str = "data: {\"error\": {\"message\": \"EngineCore\", \"code\": 500}}\n\n";
const FULL: &str = "data: {\"error\":{\"message\":\"The request queue is full.\",\"code\":\"503\"}}\n\n";
const QUOTED: &str =
    "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"error\\\": no\"}}],\"error\":null}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const COMMENT: &str = ": ping\nevent: message\nid: 7\n\n";
const BARE: &str = "error: {\"code\":400,\"message\":\"bad\"}\n\n";
const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"error\":null}}\n\n";
const DELTA: &str =
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"response\":{\"id\":\"r\",\"error\":null},\"type\":\"response.completed\"}\n\n";
const MESSAGE: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"stop_reason\":null}}\n\n";
const BLOCK: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
const END_TURN: &str =
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
const NO_REASON: &str =
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null}}\n\n";
const MESSAGE_STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

fn dialect(name: &str) -> &'static Dialect {
    super::super::dialect::DIALECTS.iter().find(|dialect| dialect.name == name).expect("a dialect")
}

fn watch(name: &str, parts: &[&[u8]]) -> Seen {
    let mut watcher = Watcher::new(dialect(name));
    parts.iter().for_each(|part| watcher.look(part));
    *watcher.seen()
}

/// The verdict on a stream whose HTTP message is complete.
fn ended(name: &str, events: &[&str]) -> Option<Outcome> {
    let mut watcher = Watcher::new(dialect(name));
    watcher.look(events.concat().as_bytes());
    watcher.finish();
    watcher.seen().trouble(watcher.dialect(), true)
}

#[test]
fn whole_is_whole_and_a_cut_is_a_cut() {
    use Outcome::{Aborted, EngineError, Truncated};
    assert_ended(&[
        ("chat", &[TOKEN, STOP, DONE], None),
        ("chat", &[TOKEN, STOP], None),
        ("chat", &[TOKEN, DONE], None),
        ("chat", &[TOKEN], Some(Truncated)),
        ("chat", &[], Some(Truncated)),
        ("chat", &[TOKEN, STOP, "data: [DONE] \n\n"], None),
        ("chat", &[TOKEN, "data: [DONE]"], None),
        ("chat", &[TOKEN, STOP.trim_ascii_end()], None),
        ("chat", &[TOKEN, STOP, "data: {\"usage\""], None),
        ("chat", &[TOKEN, "data: {\"choices\":[{\"finish_reason\":\"stop\""], Some(Truncated)),
        ("chat", &[QUOTED, DONE], None),
        ("chat", &[TOKEN, DEAD, DONE], Some(EngineError)),
        ("chat", &[TOKEN, FULL, DONE], Some(Outcome::Busy)),
        ("chat", &[TOKEN, ABORT, DONE], Some(Aborted)),
        ("chat", &[BARE], None),
        ("chat", &["{\"error\":{\"message\":\"died\",\"code\":500}}"], Some(EngineError)),
        ("chat", &["{\"error\":{\"message\":\"too long\",\"code\":400}}"], None),
        ("chat", &["\u{feff}", STOP], None),
        ("chat", &["\u{feff}", DEAD], Some(EngineError)),
        ("completions", &[TOKEN, STOP], None),
        ("completions", &[TOKEN], Some(Truncated)),
        ("responses", &[CREATED, DELTA, COMPLETED], None),
        ("responses", &[CREATED, DELTA], Some(Truncated)),
        ("responses", &[CREATED, DELTA, "event: response.incomplete\ndata: {}\n\n"], None),
        ("responses", &[CREATED, "data: {\"type\":\"response.completed\"}\n\n"], None),
        (
            "responses",
            &[CREATED, "event: response.completed\ndata: {\"type\":\"response.co"],
            Some(Truncated),
        ),
        ("responses", &["data: {\"type\":\"error\",\"code\":\"server_error\"}\n\n"], Some(EngineError)),
        (
            "responses",
            &["data: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\"}\n\n"],
            Some(Outcome::Busy),
        ),
        ("messages", &[MESSAGE, END_TURN, MESSAGE_STOP], None),
        ("messages", &[MESSAGE, PING], Some(Truncated)),
        ("messages", &[MESSAGE, END_TURN, "event: message_stop\ndata:"], Some(Truncated)),
        ("messages", &[MESSAGE, NO_REASON, MESSAGE_STOP], Some(Aborted)),
        ("messages", &[MESSAGE, MESSAGE_STOP], None),
        (
            "messages",
            &["event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n"],
            Some(EngineError),
        ),
        (
            "messages",
            &["event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"not_found_error\"}}\n\n"],
            None,
        ),
    ]);
}

#[test]
fn whole_and_cut_in_the_engines_own_dialects() {
    use Outcome::{Aborted, EngineError, Truncated};
    const LINE: &str = "{\"message\":{\"content\":\"a\"},\"done\":false}\n";
    const LAST_LINE: &str = "{\"message\":{\"content\":\"\"},\"done\": true}\n";
    const TGI: &str = "data:{\"token\":{\"text\":\"a\"},\"generated_text\":null}\n\n";
    const TGI_LAST: &str = "data:{\"token\":{\"text\":\"a\"},\"generated_text\":\"a\"}\n\n";
    const LLAMA: &str = "data: {\"content\":\"a\",\"stop\":false}\n\n";
    const LLAMA_LAST: &str = "data: {\"content\":\"\",\"stop\":true}\n\n";
    // LightLLM never tells the whole text
    const LIGHT: &str = "data:{\"token\":{\"text\":\"a\"},\"generated_text\":null,\"finished\":false,\"finish_reason\":null}\n\n";
    const LIGHT_LAST: &str = "data:{\"token\":{\"text\":\"a\"},\"generated_text\":null,\"finished\":true,\"finish_reason\":\"length\"}\n\n";
    const TRITON: &str = "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"a\"}\n\n";
    let sglang = |reason: &str| {
        format!("data: {{\"text\":\"a\",\"meta_info\":{{\"id\":\"x\",\"finish_reason\":{reason}}}}}\n\n")
    };
    assert_ended(&[
        ("ollama", &[LINE, LAST_LINE], None),
        ("ollama", &[LINE, LAST_LINE.trim_ascii_end()], None),
        ("ollama", &[LINE], Some(Truncated)),
        ("ollama", &[LINE, "{\"done\": true, \"total_duration\": 1"], Some(Truncated)),
        ("ollama", &[LINE, "{\"error\":\"an error was encountered\"}\n"], Some(EngineError)),
        ("tgi", &[TGI, TGI_LAST], None),
        ("tgi", &[TGI], Some(Truncated)),
        ("tgi", &["data:{\"error\":\"full\",\"error_type\":\"overloaded\"}\n\n"], Some(Outcome::Busy)),
        ("native", &[LLAMA, LLAMA_LAST], None),
        ("native", &[LLAMA], Some(Truncated)),
        ("native", &["data: {\"text\":\"a\",\"meta_info\":{\"finish_reason\":null}}\n\n", DONE], None),
        ("native", &[TGI, TGI_LAST], None),
        ("native", &[TGI], Some(Truncated)),
        ("native", &[TOKEN, STOP], None),
        ("native", &[TOKEN], Some(Truncated)),
        ("tgi", &[LIGHT, LIGHT_LAST], None),
        ("tgi", &[LIGHT], Some(Truncated)),
        ("tgi", &[TRITON, TRITON], None),
        ("native", &[&sglang("null"), &sglang("{\"type\":\"length\"}")], None),
        ("native", &[&sglang("null")], Some(Truncated)),
        ("native", &[&sglang("null"), &sglang("{\"type\":\"abort\"}"), DONE], Some(Aborted)),
        ("native", &[&sglang("{\"type\":\"abort\",\"status_code\":503}"), DONE], Some(Outcome::Busy)),
        ("native", &[&sglang("{\"type\":\"abort\",\"status_code\":400}"), DONE], None),
        (
            "ollama",
            &[
                "{\"message\":{\"tool_calls\":[{\"function\":{\"arguments\":{\"done\":true}}}]},\"done\":false}\n",
            ],
            Some(Truncated),
        ),
        (
            "chat",
            &["data: {\"object\":\"error\",\"message\":\"died\",\"code\":500}\n\n", DONE],
            Some(EngineError),
        ),
        ("chat", &["event: error\r\ndata: {\"message\":\"died\"}\r\n\r\n"], Some(EngineError)),
        ("responses", &["event: response.completed\r\ndata: {}\r\n\r\n"], None),
        ("audio", &["data: {\"type\":\"transcript.text.delta\"}\n\n"], Some(Truncated)),
        ("audio", &["data: {\"type\":\"transcript.text.done\"}\n\n"], None),
        ("audio", &[TOKEN], Some(Truncated)),
        ("audio", &["data: a segment\n\n"], None),
        ("audio", &[], None),
        (
            "audio",
            &["data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"abort\"}]}\n\n", DONE],
            Some(Aborted),
        ),
    ]);
}

fn assert_ended(table: &[(&str, &[&str], Option<Outcome>)]) {
    for (name, events, want) in table {
        assert_eq!(ended(name, events), *want, "{name}: {events:?}");
    }
}

/// A stream of each dialect: its events, how many of them make it whole, and its manner of being told to stop.
struct Sample {
    dialect: &'static str,
    events: &'static [&'static str],
    /// Events up to which it is cut.
    cut: usize,
    /// The events in place of those after `cut`.
    aborted: &'static [&'static str],
}

const SAMPLES: [Sample; 8] = [
    Sample { dialect: "chat", events: &[TOKEN, TOKEN, STOP, DONE], cut: 2, aborted: &[ABORT, DONE] },
    Sample {
        dialect: "completions",
        events: &[
            "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n",
            DONE,
        ],
        cut: 1,
        aborted: &["data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"abort\"}]}\n\n", DONE],
    },
    Sample {
        dialect: "responses",
        events: &[CREATED, DELTA, DELTA, COMPLETED],
        cut: 3,
        // vLLM says that it is completed: nothing tells it
        aborted: &[],
    },
    Sample {
        dialect: "messages",
        events: &[MESSAGE, PING, BLOCK, END_TURN, MESSAGE_STOP],
        cut: 4,
        aborted: &[NO_REASON, MESSAGE_STOP],
    },
    Sample {
        dialect: "ollama",
        events: &[
            "{\"message\":{\"content\":\"a\"},\"done\":false}\n",
            "{\"message\":{\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"eval_count\":2}\n",
        ],
        cut: 1,
        aborted: &[],
    },
    Sample {
        dialect: "tgi",
        events: &[
            "data:{\"token\":{\"text\":\"a\"},\"generated_text\":null,\"details\":null}\n\n",
            "data:{\"token\":{\"text\":\"b\"},\"generated_text\":\"ab\",\"details\":{\"seed\":null}}\n\n",
        ],
        cut: 1,
        aborted: &[],
    },
    // llama.cpp
    Sample {
        dialect: "native",
        events: &[
            "data: {\"content\":\"a\",\"stop\":false}\n\n",
            "data: {\"content\":\"\",\"stop\":true,\"stop_type\":\"limit\"}\n\n",
        ],
        cut: 1,
        aborted: &[],
    },
    // SGLang
    Sample {
        dialect: "native",
        events: &[
            "data: {\"text\":\"a\",\"meta_info\":{\"id\":\"r\",\"finish_reason\":null}}\n\n",
            "data: {\"text\":\"ab\",\"meta_info\":{\"finish_reason\":{\"type\":\"length\",\"length\":2}}}\n\n",
            DONE,
        ],
        cut: 1,
        aborted: &[
            "data: {\"text\":\"a\",\"meta_info\":{\"finish_reason\":{\"type\":\"abort\",\"message\":\"x\"}}}\n\n",
            DONE,
        ],
    },
];

/// Cut anywhere, at the end of an event or within one, in a message that is complete all the same.
#[test]
fn each_dialects_stream_is_cut_until_it_has_said_that_it_is_over() {
    for Sample { dialect: name, events, cut, .. } in &SAMPLES {
        let text = events.concat();
        let needed = events[..=*cut].concat().trim_end().len();
        for length in 0..=text.len() {
            let want = (length < needed).then_some(Outcome::Truncated);
            assert_eq!(ended(name, &[&text[..length]]), want, "{name}: {:?}", &text[..length]);
        }
    }
}

#[test]
fn each_dialects_abort_is_told_from_an_end() {
    for Sample { dialect: name, events, cut, aborted } in &SAMPLES {
        if !aborted.is_empty() {
            let stream = [&events[..*cut], aborted].concat();
            assert_eq!(ended(name, &stream), Some(Outcome::Aborted), "{name}");
        }
    }
}

#[test]
fn each_dialects_error_is_one_first_and_later() {
    use Meaning::{Busy, Failure, Mistake};
    // dialect, error, meaning, and who says it
    let table = [
        ("chat", DEAD, Failure, "vLLM 0.32"),
        ("chat", FULL, Busy, "SGLang 0.5"),
        ("chat", BARE, Mistake, "llama.cpp, older"),
        (
            "chat",
            "data: {\"error\":{\"message\":\"Request queue timeout reached.\",\"type\":\"SERVICE_UNAVAILABLE\"}}\n\n",
            Busy,
            "SGLang 0.5",
        ),
        (
            "completions",
            "data: {\"error\": {\"message\": \"Token id 9 is out of vocabulary\", \"code\": 400}}\n\n",
            Mistake,
            "vLLM 0.32",
        ),
        (
            "responses",
            "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}\n\n",
            Failure,
            "OpenAI",
        ),
        ("responses", "data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n", Busy, "nested"),
        (
            "messages",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
            Busy,
            "Anthropic",
        ),
        (
            "messages",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"internal_error\",\"message\":\"2 validation errors \
             for ChatCompletionStreamResponse {'message': 'En...am': None, 'code': 500}\"}}\n\n",
            Failure,
            "vLLM 0.32",
        ),
        ("ollama", "{\"error\":\"an error was encountered while running the model\"}\n", Failure, "Ollama"),
        ("ollama", "{\"error\":\"server busy, please try again.\"}\n", Busy, "Ollama"),
        ("tgi", "data:{\"error\":\"x\",\"error_type\":\"generation\"}\n\n", Failure, "TGI 3"),
        ("tgi", "data:{\"error\":\"x\",\"error_type\":\"validation\"}\n\n", Mistake, "TGI 3"),
        ("native", "data: {\"error\":{\"code\":500,\"type\":\"server_error\"}}\n\n", Failure, "llama.cpp"),
        (
            "native",
            "data: {\"text\":\"\",\"meta_info\":{\"finish_reason\":{\"type\":\"abort\",\"status_code\":503}}}\n\n",
            Busy,
            "SGLang 0.5, full",
        ),
        ("native", "data: {\"error\":{\"message\":\"died\"}}\n\n", Failure, "SGLang 0.5"),
        ("audio", DEAD, Failure, "vLLM 0.32"),
        ("one answer", DEAD, Failure, "nobody"),
    ];
    for (name, error, meaning, source) in table {
        let outcome = (meaning != Mistake).then(|| meaning.outcome());
        let seen = watch(name, &[error.as_bytes()]);
        assert!(
            matches!(seen.first, Some(First::Error(told)) if told.meaning == meaning),
            "{source}: {seen:?}"
        );
        assert_eq!(ended(name, &[error]), outcome, "{source}, first");
        let begun =
            SAMPLES.iter().find(|sample| sample.dialect == name).map_or(TOKEN, |sample| sample.events[0]);
        assert_eq!(ended(name, &[begun, error]), outcome, "{source}, later");
        assert_eq!(ended(name, &[begun, error, DONE]), outcome, "{source}, and `[DONE]`");
        assert_eq!(watch(name, &[begun.as_bytes(), error.as_bytes()]).first, Some(First::Good), "{source}");
    }
}

/// Before its message is complete a stream lacks nothing yet.
#[test]
fn an_open_stream_is_in_trouble_only_by_what_it_says() {
    for (events, want) in
        [(&[TOKEN][..], None), (&[TOKEN, DEAD], Some(Outcome::EngineError)), (&[TOKEN, DONE], None)]
    {
        let seen = watch("chat", &[events.concat().as_bytes()]);
        assert_eq!(seen.trouble(dialect("chat"), false), want, "{events:?}");
    }
    assert!(watch("chat", &[TOKEN.as_bytes(), DONE.as_bytes()]).is_doubtful());
    assert!(!watch("chat", &[TOKEN.as_bytes(), STOP.as_bytes(), DONE.as_bytes()]).is_doubtful());
}

#[test]
fn the_first_event_and_the_count() {
    let error = |meaning, code| Some(First::Error(Told { meaning, code }));
    let table: [(&[&str], Option<First>, u64); 7] = [
        (&[COMMENT], None, 0),
        (&[DONE], Some(First::Good), 0),
        (&[TOKEN, TOKEN], Some(First::Good), 2),
        (&[FULL], error(Meaning::Busy, Some(503)), 1),
        (&[BARE], error(Meaning::Mistake, Some(400)), 1),
        (&[QUOTED], Some(First::Good), 1),
        (&[PING, TOKEN], Some(First::Good), 1),
    ];
    for (events, first, count) in table {
        let seen = watch("chat", &[events.concat().as_bytes()]);
        assert_eq!((seen.first, seen.events), (first, count), "{events:?}");
    }
    let bare_ping = "data: {\"type\": \"ping\"}\n\n";
    assert_eq!(watch("messages", &[bare_ping.as_bytes()]).events, 0, "a ping is no life");
}

#[test]
fn a_line_beyond_the_bound_passes_unseen_and_the_next_one_is_seen() {
    let long = format!("data: {{\"error\":{{\"pad\":\"{}\"}}}}\n\n", "x".repeat(2 * LINE_MAX));
    for size in [1, 1000, long.len()] {
        let mut watcher = Watcher::new(dialect("chat"));
        long.as_bytes().chunks(size).for_each(|part| watcher.look(part));
        assert!(watcher.line.len() <= LINE_MAX);
        watcher.look(DONE.as_bytes());
        assert!(watcher.seen().done);
    }
}

#[test]
fn an_event_beyond_the_bound_is_an_event_and_may_have_been_the_last() {
    // a whole tool call in the event that ends the stream
    let pad = "x".repeat(2 * LINE_MAX);
    let last = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{pad}\"}},\"finish_reason\":\"stop\"}}]}}\n\n"
    );
    assert_eq!(ended("chat", &[TOKEN, &last]), None);
    assert_eq!(watch("chat", &[last.as_bytes()]).first, Some(First::Good));
    assert_eq!(ended("chat", &[&last, TOKEN]), Some(Outcome::Truncated), "it was not the last");
    assert_eq!(ended("messages", &[&last, MESSAGE]), Some(Outcome::Truncated), "it was not the last");
    assert_eq!(watch("chat", &[format!(": {pad}\n\n").as_bytes()]), Seen::default(), "a comment");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_verdict(
        picks in prop::collection::vec(0..12_usize, 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        which in 0..super::super::dialect::DIALECTS.len(),
    ) {
        let name = super::super::dialect::DIALECTS[which].name;
        let samples =
            [TOKEN, STOP, ABORT, DEAD, FULL, QUOTED, DONE, COMMENT, COMPLETED, NO_REASON, MESSAGE_STOP, PING];
        let text: String = picks.iter().map(|pick| samples[*pick]).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(watch(name, &parts), watch(name, &[text.as_bytes()]));
    }

    #[test]
    fn nothing_makes_it_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
        let parts: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
        for dialect in &super::super::dialect::DIALECTS {
            watch(dialect.name, &parts);
        }
    }
}

/// Usage stands in the last event, or near it; Anthropic's prompt in the first.
#[test]
fn streams_tell_their_tokens_once() {
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\n";
    const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n";
    const RESPONSE: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":4}}}\n\n";
    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":6,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n";
    const MESSAGE_DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":6,\"output_tokens\":4}}\n\n";
    const OLLAMA: &str = "{\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":9,\"eval_count\":4}\n";
    let told = |cached| Some(Usage { prompt: Some(9), cached, answer: Some(4) });
    for (name, events, want) in [
        ("chat", &[TOKEN, TOKEN, STOP, USAGE, DONE][..], told(Some(3))),
        ("chat", &[TOKEN, LAST, DONE], told(None)),
        ("chat", &[TOKEN, STOP, DONE], None),
        ("responses", &[CREATED, DELTA, RESPONSE], told(None)),
        ("messages", &[START, BLOCK, MESSAGE_DELTA, MESSAGE_STOP], told(Some(3))),
        ("ollama", &[OLLAMA], told(None)),
    ] {
        let mut watcher = Watcher::new(dialect(name));
        watcher.look(events.concat().as_bytes());
        assert_eq!(watcher.take_usage(), want, "{name} {events:?}");
        assert_eq!(watcher.take_usage(), None);
    }
}

/// A chat's role is no token.
#[test]
fn events_without_words_are_counted_until_there_are_some() {
    const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
    for (events, want) in [
        (&[ROLE][..], (1, false)),
        (&[ROLE, ROLE, TOKEN, STOP, DONE], (2, true)),
        (&[TOKEN, ROLE], (0, true)),
        (&[ROLE, DEAD], (1, true)),
    ] {
        let seen = watch("chat", &[events.concat().as_bytes()]);
        assert_eq!((seen.silent, seen.speaks), want, "{events:?}");
    }
}
