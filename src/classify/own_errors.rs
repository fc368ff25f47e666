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
    param: (),
    code: u16,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    r#type: &'static str,
    message: &'a str,
}

impl<'a> Error<'a> {
    fn of(shape: Shape, status: u16, message: &'a str) -> Self {
        match shape {
            Shape::OpenAi | Shape::Responses => {
                Self::OpenAi { error: OpenAi { message, r#type: openai(status), param: (), code: status } }
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

/// The body of an answer with this status.
pub fn body(shape: Shape, status: u16, message: &str) -> String {
    Error::of(shape, status, message).written()
}

/// The event that ends a stream which broke off; the status is that of a node that failed.
pub fn closing_event(shape: Shape, frames: Frames, message: &str) -> String {
    const STATUS: u16 = 502;
    event(shape, frames, STATUS, message)
}

/// The event that ends a stream under whose head nothing was said, in place of an answer with this status.
pub fn event(shape: Shape, frames: Frames, status: u16, message: &str) -> String {
    let error = match shape {
        // flat in a stream
        Shape::Responses => Error::Responses { r#type: "error", code: openai(status), message, param: () },
        _ => Error::of(shape, status, message),
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
                serde_json::from_str(&body(shape, status, "no")).unwrap(),
                serde_json::from_str(want).unwrap(),
            );
            assert_eq!(body, want, "{shape:?} {status}");
        }
    }

    #[test]
    fn a_stream_ends_with_an_event_of_its_own_form() {
        let event = |shape, frames| closing_event(shape, frames, "no");
        assert!(event(Shape::OpenAi, Frames::Events).starts_with("data: {\"error\":{"));
        assert!(event(Shape::Responses, Frames::Events).starts_with("event: error\ndata: {\"type\""));
        assert!(event(Shape::Anthropic, Frames::Events).starts_with("event: error\ndata: {\"type\""));
        assert_eq!(event(Shape::Ollama, Frames::Lines), "{\"error\":\"no\"}\n");
        let full = super::event(Shape::Anthropic, Frames::Events, 503, "no");
        assert!(full.contains("overloaded_error"), "{full}");
        let mistake = super::event(Shape::Responses, Frames::Events, 400, "no");
        assert!(mistake.contains("\"code\":\"invalid_request_error\""), "{mistake}");
    }
}
