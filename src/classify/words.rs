//! The words of errors: what an engine that says it cannot answer means by it. Numbers first, then words.

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

/// Names under which numbers are told: OpenAI `code`, SGLang `code` and `status`, TGI `http_status_code`, LMDeploy and
/// LiteLLM `status_code`.
const NUMBERS: [&str; 5] = ["code", "status", "status_code", "http_status_code", "error_code"];
/// Names under which an error's kind is told. TGI has `error_type` beside `error`.
const KINDS: [&str; 3] = ["type", "code", "error_type"];

/// Words for load, in lower case, without marks between them: OpenAI `rate_limit_exceeded`, `too_many_requests`; Anthropic
/// `overloaded_error`, `rate_limit_error`; SGLang 0.5 `Request queue timeout reached.`, `The request queue is full.`,
/// `SERVICE_UNAVAILABLE`; vLLM 0.32 `The engine is currently busy`; TGI `Model is overloaded`; llama.cpp
/// `unavailable_error`, `Loading model`; Ollama `server busy, please try again`.
const BUSY: [&str; 13] = [
    "overloaded",
    "ratelimit",
    "toomanyrequests",
    "queueisfull",
    "queuetimeout",
    "queuedtimeout",
    "requestqueue",
    "serviceunavailable",
    "unavailableerror",
    "currentlybusy",
    "serverbusy",
    "loadingmodel",
    "atcapacity",
];
/// Words for the client's mistakes: OpenAI `invalid_request_error`, `context_length_exceeded`, `model_not_found`; Anthropic's
/// `not_found_error`, `authentication_error`, `permission_error`, `request_too_large`; vLLM `BadRequestError`,
/// `NotFoundError`; llama.cpp `exceed_context_size_error`, `not_supported_error`; TGI `validation`, `Template error`.
const MISTAKE: [&str; 19] = [
    "invalidrequest",
    "badrequest",
    "invalidargument",
    "invalidvalue",
    "validation",
    "unprocessable",
    "notfound",
    "authentication",
    "unauthorized",
    "permission",
    "forbidden",
    "toolarge",
    "contextlength",
    "contextsize",
    "contextwindow",
    "maximumcontext",
    "notsupported",
    "template",
    "unsupported",
];

/// Kinds of failures, whatever mistake their message speaks of: a dead vLLM 0.32 says `internal_error` on `/messages`, and
/// that its own error object failed a validation. OpenAI and llama.cpp `server_error`, Anthropic `api_error`.
const FAILURE: [&str; 3] = ["internal", "servererror", "apierror"];

impl Meaning {
    /// Of the object or the text that an error event carries, and the object around it.
    pub fn of(error: &Value, around: &Value) -> Self {
        if let Some(number) = number(error).or_else(|| number(around)) {
            return Self::of_number(number);
        }
        let kinds = KINDS.iter().filter_map(|name| error.get(name)).filter_map(Value::as_str).map(plain);
        let texts = [error.get("message"), Some(error), around.get("error_type")].into_iter().flatten();
        let mut is_failure = false;
        for kind in kinds {
            if let Some(meaning) = of_words(&kind) {
                return meaning;
            }
            is_failure |= has(&kind, &FAILURE);
        }
        let meaning = texts.filter_map(Value::as_str).find_map(|text| of_words(&plain(text)));
        meaning.filter(|meaning| !is_failure || *meaning == Self::Busy).unwrap_or(Self::Failure)
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

/// Load, or the client's mistake.
fn of_words(text: &str) -> Option<Meaning> {
    let busy = has(text, &BUSY).then_some(Meaning::Busy);
    busy.or_else(|| has(text, &MISTAKE).then_some(Meaning::Mistake))
}

fn has(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// A status code, as a number or as digits.
pub fn number(error: &Value) -> Option<u16> {
    NUMBERS.iter().filter_map(|name| error.get(name)).find_map(|value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
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
    use super::*;

    fn meaning(error: &str) -> Meaning {
        let whole: Value = serde_json::from_str(error).unwrap();
        Meaning::of(whole.get("error").unwrap_or(&whole), &whole)
    }

    #[test]
    fn what_engines_say() {
        use Meaning::{Busy, Failure, Mistake};
        // text, meaning, and who says it
        let table = [
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
            (
                r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
                Busy,
                "Ollama",
            ),
            (
                r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
                Busy,
                "llama.cpp",
            ),
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
            (r#"{"error":{"type":"internal_error","message":"The queue is full."}}"#, Busy, "nobody"),
            (r#"{"error":{"type":"api_error"}}"#, Failure, "Anthropic"),
            (r#"{"type":"error","code":"server_error","message":"died"}"#, Failure, "OpenAI Responses"),
            (r#"{"error":"an error was encountered while running the model"}"#, Failure, "Ollama"),
            (r#"{"error":{"message":"CUDA error","http_status_code":424}}"#, Failure, "TGI 3"),
            (r#"{"error":true}"#, Failure, "nobody"),
        ];
        for (error, want, source) in table {
            assert_eq!(meaning(error), want, "{source}: {error}");
        }
    }
}
