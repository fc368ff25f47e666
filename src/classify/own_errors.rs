//! Errors of the gateway's own, in the form that the clients of a dialect turn into their exceptions.

use serde::Serialize;

use super::dialect::{Frames, Shape};

/// In the order in which the APIs' own servers write their members.
#[derive(Serialize)]
#[serde(untagged)]
enum Error<'a> {
    OpenAi { error: OpenAi<'a> },
    Responses { r#type: &'static str, code: &'static str, message: &'a str, param: () },
    Anthropic { r#type: &'static str, error: Anthropic<'a> },
    Ollama { error: &'a str },
    Tgi { error: &'a str, error_type: &'static str },
}

#[derive(Serialize)]
struct OpenAi<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: Code,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Code {
    Status(u16),
    Word(&'static str),
}

/// The part of a request that an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum About {
    #[default]
    Request,
    /// The model of this name is not served.
    Model(Box<str>),
    /// The client's key, or the lack of one.
    Key,
    /// The client's key does not go for the model of this name.
    ModelOfKey(Box<str>),
    /// A limit of the client's key is reached: `requests` or `tokens`.
    Limit(&'static str),
}

/// The longest part of a client's own words in an error, in characters.
const WORDS_MAX: usize = 128;

impl About {
    /// A message for the client alone: its own words have no place in a log.
    fn message(&self) -> Option<String> {
        let (name, is_served) = match self {
            Self::Model(name) => (name, false),
            Self::ModelOfKey(name) => (name, true),
            Self::Request | Self::Key | Self::Limit(_) => return None,
        };
        let shown: String = name.chars().take(WORDS_MAX).collect();
        let more = if shown.len() < name.len() { "..." } else { "" };
        Some(if is_served {
            format!(
                "this key is not for the model `{shown}{more}`; GET /v1/models lists those that it is for"
            )
        } else {
            format!("the model `{shown}{more}` does not exist here; GET /v1/models lists those that do")
        })
    }

    fn param(&self) -> Option<&'static str> {
        matches!(self, Self::Model(_) | Self::ModelOfKey(_)).then_some("model")
    }

    /// OpenAI's `type`.
    fn kind(&self, status: u16) -> &'static str {
        match self {
            Self::Limit(what) => what,
            _ => openai(status),
        }
    }

    fn code(&self, status: u16) -> Code {
        match self {
            Self::Request => Code::Status(status),
            Self::Model(_) | Self::ModelOfKey(_) => Code::Word("model_not_found"),
            Self::Key => Code::Word("invalid_api_key"),
            Self::Limit(_) => Code::Word("rate_limit_exceeded"),
        }
    }
}

#[derive(Serialize)]
struct Anthropic<'a> {
    r#type: &'static str,
    message: &'a str,
}

impl<'a> Error<'a> {
    fn of(shape: Shape, status: u16, message: &'a str, about: &About) -> Self {
        match shape {
            Shape::OpenAi | Shape::Responses => {
                let (param, code) = (about.param(), about.code(status));
                Self::OpenAi { error: OpenAi { message, r#type: about.kind(status), param, code } }
            }
            Shape::Anthropic => {
                Self::Anthropic { r#type: "error", error: Anthropic { r#type: anthropic(status), message } }
            }
            Shape::Ollama => Self::Ollama { error: message },
            Shape::Tgi => Self::Tgi { error: message, error_type: tgi(status) },
        }
    }

    fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The body of an answer with this status. An error about a model names it in place of the message.
pub fn body(shape: Shape, status: u16, message: &str, about: &About) -> String {
    let own = about.message();
    Error::of(shape, status, own.as_deref().unwrap_or(message), about).written()
}

/// The event that ends a stream which broke off; the status is that of a node that failed.
pub fn closing_event(shape: Shape, frames: Frames, message: &str) -> String {
    const STATUS: u16 = 502;
    event(shape, frames, STATUS, message, &About::Request)
}

/// The event that ends a stream under whose head nothing was said, in place of an answer with this status.
pub fn event(shape: Shape, frames: Frames, status: u16, message: &str, about: &About) -> String {
    let own = about.message();
    let message = own.as_deref().unwrap_or(message);
    let error = match shape {
        // flat in a stream
        Shape::Responses => Error::Responses { r#type: "error", code: openai(status), message, param: () },
        _ => Error::of(shape, status, message, about),
    };
    let error = error.written();
    match (frames, shape) {
        (Frames::Lines, _) => format!("{error}\n"),
        (Frames::Events, Shape::Responses | Shape::Anthropic) => format!("event: error\ndata: {error}\n\n"),
        (Frames::Events, _) => format!("data: {error}\n\n"),
    }
}

fn openai(status: u16) -> &'static str {
    match status {
        400..=428 | 431 => "invalid_request_error",
        429 => "rate_limit_error",
        _ => "upstream_error",
    }
}

/// Anthropic's API reference, "Errors".
fn anthropic(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

/// TGI's `router/src/server.rs`.
fn tgi(status: u16) -> &'static str {
    match status {
        429 | 503 => "overloaded",
        400..=499 => "validation",
        _ => "generation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn each_dialects_clients_read_the_gateways_errors() {
        let table = [
            (
                Shape::OpenAi,
                404,
                r#"{"error":{"code":404,"message":"no","param":null,"type":"invalid_request_error"}}"#,
            ),
            (
                Shape::Responses,
                429,
                r#"{"error":{"code":429,"message":"no","param":null,"type":"rate_limit_error"}}"#,
            ),
            (Shape::Anthropic, 404, r#"{"error":{"message":"no","type":"not_found_error"},"type":"error"}"#),
            (Shape::Anthropic, 503, r#"{"error":{"message":"no","type":"overloaded_error"},"type":"error"}"#),
            (Shape::Ollama, 502, r#"{"error":"no"}"#),
            (Shape::Tgi, 503, r#"{"error":"no","error_type":"overloaded"}"#),
        ];
        for (shape, status, want) in table {
            let (body, want): (Value, Value) = (
                serde_json::from_str(&body(shape, status, "no", &About::Request)).unwrap(),
                serde_json::from_str(want).unwrap(),
            );
            assert_eq!(body, want, "{shape:?} {status}");
        }
    }

    #[test]
    fn an_unknown_model_in_each_dialect() {
        let message = "the model `m` does not exist here; GET /v1/models lists those that do";
        let openai = r#"{"error":{"message":"MESSAGE","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#;
        for (shape, want) in [
            (Shape::OpenAi, openai),
            (Shape::Responses, openai),
            (Shape::Anthropic, r#"{"type":"error","error":{"type":"not_found_error","message":"MESSAGE"}}"#),
            (Shape::Ollama, r#"{"error":"MESSAGE"}"#),
            (Shape::Tgi, r#"{"error":"MESSAGE","error_type":"validation"}"#),
        ] {
            let told = body(shape, 404, "for the log", &About::Model("m".into()));
            assert_eq!(told, want.replace("MESSAGE", message), "{shape:?}");
        }
        let long = body(Shape::OpenAi, 404, "", &About::Model("\u{e4}\n".repeat(1000).into()));
        assert!(long.len() < 1000 && long.contains("...` does"), "{long}");
    }

    #[test]
    fn a_stream_ends_with_an_event_of_its_own_form() {
        let event = |shape, frames| closing_event(shape, frames, "no");
        assert!(event(Shape::OpenAi, Frames::Events).starts_with("data: {\"error\":{"));
        assert!(event(Shape::Responses, Frames::Events).starts_with("event: error\ndata: {\"type\""));
        assert!(event(Shape::Anthropic, Frames::Events).starts_with("event: error\ndata: {\"type\""));
        assert_eq!(event(Shape::Ollama, Frames::Lines), "{\"error\":\"no\"}\n");
        let full = super::event(Shape::Anthropic, Frames::Events, 503, "no", &About::Request);
        assert!(full.contains("overloaded_error"), "{full}");
        let mistake = super::event(Shape::Responses, Frames::Events, 400, "no", &About::Request);
        assert!(mistake.contains("\"code\":\"invalid_request_error\""), "{mistake}");
    }
}
