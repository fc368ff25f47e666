//! The words of errors: what an engine that says it cannot answer means by it. Numbers first, then words.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;

use crate::outcome::Outcome;

/// The meaning of an error that a node reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The node is full, for a while: never charged.
    Busy,
    /// The client's own mistake: neither charged nor repeated.
    Mistake,
    /// The engine is broken.
    Failure,
}

/// An error that a node has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub meaning: Meaning,
    /// Its status code, if it has one.
    pub code: Option<u16>,
}

/// Built once: building a finder costs more than searching an event. Also the beginning of `"error_code"`.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error"));

/// Names under which numbers are told: OpenAI `code`, SGLang `code` and `status`, TGI `http_status_code`, LMDeploy and
/// LiteLLM `status_code`.
const NUMBERS: [&str; 5] = ["code", "status", "status_code", "http_status_code", "error_code"];
/// Names under which words are told, the most exact first. `error_code` has its words in `text`; FastAPI's name is `detail`,
/// that of gRPC `status`.
const WORDS: [&str; 8] = ["type", "code", "status", "error_type", "message", "detail", "msg", "text"];

/// Words for load, in lower case, without marks between them: OpenAI `rate_limit_exceeded`, `too_many_requests`; Anthropic
/// `overloaded_error`, `rate_limit_error`; SGLang 0.5 `Request queue timeout reached.`, `The request queue is full.`,
/// `SERVICE_UNAVAILABLE`, its router `No available workers`; vLLM 0.32 `The engine is currently busy`; TGI `Model is
/// overloaded`; llama.cpp `unavailable_error`, `Loading model`, `no slot available`; Ollama `server busy, please try again`;
/// Triton `Exceeds maximum queue size`; FastChat `HIGH TRAFFIC`, `ENGINE_OVERLOADED`; LMDeploy `Service is unavailable`;
/// Hugging Face `is currently loading`; gRPC `RESOURCE_EXHAUSTED`; SageMaker `ThrottlingException`; OpenAI `insufficient_quota`.
const BUSY: [&str; 31] = [
    "overload",
    "ratelimit",
    "toomanyrequests",
    "toomanyconcurrent",
    "concurrencylimit",
    "queueisfull",
    "queuefull",
    "maximumqueue",
    "queuetimeout",
    "queuedtimeout",
    "requestqueue",
    "pendingrequests",
    "serviceunavailable",
    "serviceisunavailable",
    "temporarilyunavailable",
    "unavailableerror",
    "currentlybusy",
    "isbusy",
    "serverbusy",
    "loadingmodel",
    "isloading",
    "currentlyloading",
    "stillloading",
    "notready",
    "atcapacity",
    "noavailableworker",
    "slotavailable",
    "resourceexhausted",
    "throttl",
    "quota",
    "hightraffic",
];
/// Words for what is broken, whatever mistake they speak of besides: a dead vLLM 0.32 says `internal_error` on `/messages`, and
/// that its own error object failed a validation; CUDA says `invalid argument` and `operation not supported`, Python
/// `FileNotFoundError: [Errno 2]`. OpenAI and llama.cpp `server_error`, Anthropic `api_error`.
const FAILURE: [&str; 14] = [
    "internal",
    "servererror",
    "apierror",
    "cuda",
    "nccl",
    "hccl",
    "hiperror",
    "outofmemory",
    "enginecore",
    "enginedead",
    "runtimeerror",
    "assertionerror",
    "errno",
    "traceback",
];
/// Words for the client's mistakes: OpenAI `invalid_request_error`, `context_length_exceeded`, `model_not_found`; Anthropic's
/// `not_found_error`, `authentication_error`, `permission_error`, `request_too_large`; vLLM `BadRequestError`,
/// `NotFoundError`, `too long to fit`; OpenAI's Responses `invalid_prompt`, `invalid_base64_image`, `image_parse_error`; llama.cpp `exceed_context_size_error`, `not_supported_error`; TGI `validation`, `Template
/// error`; SGLang's `/generate`, which has no code: `exceeds the maximum allowed length`, `longer than`, `must be`, `has never
/// been loaded`, `vocab size`, `Invalid grammar`.
const MISTAKE: [&str; 41] = [
    "invalidrequest",
    "badrequest",
    "invalidargument",
    "invalidvalue",
    "validation",
    "unprocessable",
    "notfound",
    "doesnotexist",
    "authentication",
    "unauthorized",
    "invalidapikey",
    "incorrectapikey",
    "permission",
    "forbidden",
    "toolarge",
    "toolong",
    "longerthan",
    "exceedsthemax",
    "contextlength",
    "contextsize",
    "contextwindow",
    "maximumcontext",
    "neverbeenloaded",
    "unknownmodel",
    "vocabsize",
    "mustbe",
    "missingrequired",
    "grammar",
    "jsonschema",
    "contentpolicy",
    "notsupported",
    "notallowed",
    "template",
    "unsupported",
    "invalidprompt",
    "invalidimage",
    "invalidbase",
    "toosmall",
    "imageparse",
    "emptyimage",
    "downloadimage",
];

/// The error that an event or a whole answer tells, if it is one: `{"error": ...}` at the top level, a flat one of the type
/// `error` (OpenAI's Responses) or the object `error` (SGLang, LMDeploy, vLLM before 0.10), one with a number
/// (`error_code`: FastChat, LMDeploy's proxy), or that of a response that has failed (`response.failed`). `is_bare`: something else has said that it is an error.
pub fn told(data: &[u8], is_bare: bool) -> Option<Told> {
    // a cheap look first: tokens are many and errors few
    if !is_bare && ERROR.find(data).is_none() {
        return None;
    }
    let event = match serde_json::from_slice(data) {
        Ok(event) => event,
        Err(_) if is_bare => Value::String(String::from_utf8_lossy(data).into_owned()),
        Err(_) => return None,
    };
    let event = match &event {
        Value::Array(events) => events.first()?,
        event => event,
    };
    let failed = || event.get("response").filter(|_| is_type(event, "response.failed"))?.get("error");
    let error = match event.get("error").filter(|error| is_said(error)).or_else(failed) {
        Some(error) if is_said(error) => error,
        _ if is_bare || is_error(event) => event,
        _ => return None,
    };
    // proxies wrap what they were told
    let error = error.get("error").filter(|inner| is_said(inner)).unwrap_or(error);
    Some(Told { meaning: Meaning::of(error, event), code: code(error, event) })
}

/// Members that are always there say nothing while they are empty. Most numbers are none of an error: a model may well
/// answer with its `error`.
fn is_said(error: &Value) -> bool {
    match error {
        Value::Null => false,
        Value::Bool(is_error) => *is_error,
        Value::Number(number) => number.as_u64().is_some_and(|number| (400..600).contains(&number)),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

fn is_type(event: &Value, name: &str) -> bool {
    event.get("type").and_then(Value::as_str) == Some(name)
}

fn is_error(event: &Value) -> bool {
    is_type(event, "error")
        || event.get("object").and_then(Value::as_str) == Some("error")
        || event.get("error_code").and_then(Value::as_u64).is_some_and(|code| code != 0)
}

impl Meaning {
    /// Of the object or the text that an error event carries, and the object around it.
    pub fn of(error: &Value, around: &Value) -> Self {
        if let Some(number) = code(error, around) {
            return Self::of_number(number);
        }
        let texts =
            around.get("error_type").into_iter().chain(WORDS.iter().filter_map(|name| error.get(name)));
        let texts = texts.chain([error]).filter_map(Value::as_str).map(plain);
        let mut is_failure = false;
        for text in texts {
            let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
            if has(&BUSY) {
                return Self::Busy;
            }
            is_failure |= has(&FAILURE);
            if !is_failure && has(&MISTAKE) {
                return Self::Mistake;
            }
        }
        Self::Failure
    }

    /// 529 is Anthropic's "overloaded"; 408 and 425 tell of time, and 424 of a failed generation (TGI).
    pub fn of_number(number: u16) -> Self {
        match number {
            429 | 503 | 529 => Self::Busy,
            408 | 424 | 425 => Self::Failure,
            400..=499 => Self::Mistake,
            _ => Self::Failure,
        }
    }

    pub fn outcome(self) -> Outcome {
        match self {
            Self::Busy => Outcome::Busy,
            Self::Mistake => Outcome::Ok,
            Self::Failure => Outcome::EngineError,
        }
    }
}

/// The status code that an error tells, or the object around it.
pub fn code(error: &Value, around: &Value) -> Option<u16> {
    number(error).or_else(|| number(around)).or_else(|| quoted_number(error.get("message")?.as_str()?))
}

/// vLLM 0.32's `/messages` cannot read the errors of its own chats (`entrypoints/anthropic`): it quotes them, as Python
/// writes them, and so their code.
fn quoted_number(message: &str) -> Option<u16> {
    let (_, quoted) = message.split_once("ChatCompletionStreamResponse")?.1.split_once("'code': ")?;
    quoted.get(..3)?.parse().ok().filter(|number| (100..600).contains(number))
}

/// A status code, as a number or as digits. FastChat's have two digits more (`42903`).
pub fn number(error: &Value) -> Option<u16> {
    NUMBERS.iter().filter_map(|name| error.get(name)).find_map(|value| {
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
        let number = if (40_000..60_000).contains(&number) { number / 100 } else { number };
        u16::try_from(number).ok().filter(|number| (100..600).contains(number))
    })
}

/// Lower case letters only, of the first part of a text.
fn plain(text: &str) -> String {
    const LONGEST: usize = 512;
    let letters = text.chars().filter(char::is_ascii_alphabetic).take(LONGEST);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use Meaning::{Busy, Failure, Mistake};

    use super::*;

    fn meaning(error: &str) -> Meaning {
        let whole: Value = serde_json::from_str(error).unwrap();
        Meaning::of(whole.get("error").unwrap_or(&whole), &whole)
    }

    /// Text, meaning, and who says it.
    const SAID: &[(&str, Meaning, &str)] = &[
        (r#"{"error":{"message":"The request queue is full.","code":503}}"#, Busy, "SGLang 0.5"),
        (
            r#"{"error":{"message":"Request queue timeout reached.","type":"SERVICE_UNAVAILABLE"}}"#,
            Busy,
            "SGLang 0.5",
        ),
        (
            r#"{"error":{"message":"The engine is currently busy and cannot accept","type":"Service Unavailable"}}"#,
            Busy,
            "vLLM 0.32",
        ),
        (r#"{"error":{"type":"overloaded_error","message":"words"}}"#, Busy, "Anthropic"),
        (r#"{"error":{"type":"rate_limit_error","message":"words"}}"#, Busy, "Anthropic"),
        (r#"{"type":"error","code":"rate_limit_exceeded","message":"full"}"#, Busy, "OpenAI Responses"),
        (r#"{"error":{"code":"too_many_requests","message":"full"}}"#, Busy, "OpenAI Responses"),
        (r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, Busy, "TGI 3"),
        (r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#, Busy, "Ollama"),
        (r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#, Busy, "llama.cpp"),
        (r#"{"error":{"message":"top_p","http_status_code":422}}"#, Mistake, "TGI 3"),
        (r#"{"error":"Input validation error","error_type":"validation"}"#, Mistake, "TGI 3"),
        (r#"{"error":"Template error: template not found"}"#, Mistake, "TGI 3"),
        (r#"{"error":{"type":"invalid_request_error","code":null}}"#, Mistake, "OpenAI"),
        (r#"{"error":{"type":"not_found_error"}}"#, Mistake, "Anthropic"),
        (r#"{"error":{"type":"authentication_error"}}"#, Mistake, "Anthropic"),
        (r#"{"error":{"type":"permission_error"}}"#, Mistake, "Anthropic"),
        (r#"{"error":{"type":"request_too_large"}}"#, Mistake, "Anthropic"),
        (r#"{"error":{"type":"BadRequestError","code":"400"}}"#, Mistake, "vLLM 0.32"),
        (r#"{"error":{"type":"exceed_context_size_error","n_ctx":4096}}"#, Mistake, "llama.cpp"),
        (r#"{"error":{"message":"EngineCore encountered an issue","code":500}}"#, Failure, "vLLM 0.32"),
        (r#"{"error":{"type":"internal_error","message":"EngineCore"}}"#, Failure, "vLLM 0.32, messages"),
        (
            r#"{"error":{"type":"internal_error","message":"2 validation errors for ChatCompletionStreamResponse"}}"#,
            Failure,
            "vLLM 0.32, messages",
        ),
        (
            r#"{"error":{"type":"internal_error","message":"2 validation errors for ChatCompletionStreamResponse, {'message': 'Th...am': None, 'code': 503}}, input_type=dict]"}}"#,
            Busy,
            "vLLM 0.32, messages",
        ),
        (
            r#"{"error":{"type":"internal_error","message":"2 validation errors for ChatCompletionStreamResponse, {'message': 'Gr...am': None, 'code': 400}}, input_type=dict]"}}"#,
            Mistake,
            "vLLM 0.32, messages",
        ),
        (r#"{"error":{"type":"internal_error","message":"The queue is full."}}"#, Busy, "nobody"),
        (r#"{"error":{"type":"api_error","message":"not found"}}"#, Failure, "Anthropic"),
        (r#"{"type":"error","code":"server_error","message":"died"}"#, Failure, "OpenAI Responses"),
        (r#"{"error":"an error was encountered while running the model"}"#, Failure, "Ollama"),
        (r#"{"error":{"message":"CUDA error","http_status_code":424}}"#, Failure, "TGI 3"),
        (r#"{"error":true}"#, Failure, "nobody"),
        (r#"{"error":"in ensemble 'e', Exceeds maximum queue size"}"#, Busy, "Triton"),
        (r#"{"error":"Model m is currently loading","estimated_time":20.0}"#, Busy, "Hugging Face"),
        (r#"{"error":{"message":"The server is busy, please try again"}}"#, Busy, "LightLLM"),
        (r#"{"error":{"message":"No available workers (all circuits open)"}}"#, Busy, "SGLang's router"),
        (
            r#"{"error":{"type":"server_error","message":"The engine is currently overloaded"}}"#,
            Busy,
            "OpenAI",
        ),
        (r#"{"error":{"status":"RESOURCE_EXHAUSTED","message":"x"}}"#, Busy, "gRPC"),
        (r#"{"error":{"code":" 503 "}}"#, Busy, "a proxy"),
        (r#"{"error":{"message":"quota exceeded"}}"#, Busy, "a provider"),
        (r#"{"error":{"message":"TimeoutError","type":"GatewayTimeout","code":504}}"#, Failure, "vLLM"),
        (r#"{"text":"x","error_code":42903}"#, Busy, "FastChat"),
        (r#"{"text":"CUDA out of memory","error_code":50002}"#, Failure, "FastChat"),
        (
            r#"{"text":"Service is unavailable. May retry later.","error_code":10401}"#,
            Busy,
            "LMDeploy's proxy",
        ),
        (
            r#"{"error":{"message":"Input length (9 tokens) exceeds the maximum allowed length (8 tokens)."}}"#,
            Mistake,
            "SGLang 0.5, /generate",
        ),
        (r#"{"error":{"message":"The prompt is too long to fit into the model"}}"#, Mistake, "vLLM"),
        (
            r#"{"error":{"message":"max_new_tokens must be at least 0, got -1."}}"#,
            Mistake,
            "SGLang 0.5, /generate",
        ),
        (
            r#"{"error":{"type":"InternalServerError","message":"CUDA error: operation not supported"}}"#,
            Failure,
            "vLLM",
        ),
        (r#"{"error":"RuntimeError: Triton Error [CUDA]: invalid argument"}"#, Failure, "vLLM"),
        (
            r#"{"error":"FileNotFoundError: [Errno 2] No such file or directory: '/dev/shm/x'"}"#,
            Failure,
            "Python",
        ),
        (r#"{"error":"CUDA out of memory. Tried to allocate 2 GiB"}"#, Failure, "PyTorch"),
    ];

    #[test]
    fn what_engines_say() {
        for (error, want, source) in SAID {
            assert_eq!(meaning(error), *want, "{source}: {error}");
        }
    }

    #[test]
    fn what_is_an_error_at_all() {
        let failure = |code| Some(Told { meaning: Meaning::Failure, code });
        let table = [
            (r#"{"error":{"message":"died","code":500}}"#, failure(Some(500))),
            (r#"{"error":"died"}"#, failure(None)),
            (r#"{"error":true}"#, failure(None)),
            (r#"[{"error":{"message":"died"}}]"#, failure(None)),
            (r#"{"error":{"error":{"message":"died","code":"500"}}}"#, failure(Some(500))),
            (
                r#"{"object":"error","message":"died","type":"InternalServerError","code":500}"#,
                failure(Some(500)),
            ),
            (r#"{"type":"error","code":"server_error"}"#, failure(None)),
            (r#"{"text":"died","error_code":50001}"#, failure(Some(500))),
            (
                r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"died"}}}"#,
                failure(None),
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"x"}}}"#,
                Some(Told { meaning: Meaning::Busy, code: None }),
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt","message":"x"}}}"#,
                Some(Told { meaning: Meaning::Mistake, code: None }),
            ),
            (r#"{"type":"response.failed","response":{"error":null}}"#, None),
            (r#"{"error":null,"choices":[]}"#, None),
            (r#"{"error":"","choices":[]}"#, None),
            (r#"{"error":{},"choices":[]}"#, None),
            (r#"{"error":[],"choices":[]}"#, None),
            (r#"{"error":false,"choices":[]}"#, None),
            (r#"{"error":0,"choices":[]}"#, None),
            (r#"{"error_code":0,"text":"a"}"#, None),
            (r#"{"choices":[{"delta":{"content":"\"error\": died"}}]}"#, None),
            (r#"{"message":{"tool_calls":[{"function":{"arguments":{"error":"died"}}}]}}"#, None),
            (r#"{"type":"response.created","response":{"error":{"code":"x"}}}"#, None),
            ("\"error\": no JSON", None),
        ];
        for (event, want) in table {
            assert_eq!(told(event.as_bytes(), false), want, "{event}");
        }
        let bare = [("{\"message\":\"died\"}", Meaning::Failure), ("The server is busy", Meaning::Busy)];
        for (event, meaning) in bare {
            assert_eq!(told(event.as_bytes(), true), Some(Told { meaning, code: None }), "{event}");
        }
    }
}
