//! Judging an answer in any dialect as its strictest client would.

use std::fmt;
use std::net::SocketAddr;

use evenkeel::classify::dialect::Shape;
use http::{Request, Version};
use http_body_util::BodyExt;
use serde_json::Value;

use super::super::harness::{Client, LIMIT, Outgoing, within};
use super::api::{Api, data};

/// An answer, as far as it arrived.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
    is_broken: bool,
}

/// The client's view of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Saw {
    /// Every word once, and the dialect's own end.
    Whole,
    /// The same without the last event.
    Unended,
    /// An error of the dialect's form, no end of its own, and then the connection is cut.
    Cut,
    /// An error of the dialect's form, and nothing behind it.
    Error,
    /// None of those.
    Strange(String),
}

impl fmt::Display for Saw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Unended => "all words",
            Self::Cut => "cut",
            Self::Error => "error",
            Self::Strange(what) => what,
        })
    }
}

/// Sends a request on a connection of its own.
pub(super) async fn ask(address: SocketAddr, path: &str, (kind, body): (&str, String)) -> Answer {
    within(LIMIT, "an answer", async {
        let request = Request::post(format!("http://{address}{path}")).header("content-type", kind);
        let request = request.body(Outgoing::sized(body.into())).unwrap();
        let mut client = Client::to(address, Version::HTTP_11).await;
        let response = client.begin_patiently(request).await.unwrap();
        let mut answer = Answer { status: response.status().as_u16(), body: String::new(), is_broken: false };
        let (mut incoming, mut bytes) = (response.into_body(), Vec::new());
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                answer.is_broken = true;
                break;
            };
            bytes.extend(frame.into_data().unwrap_or_default());
        }
        answer.body = String::from_utf8(bytes).unwrap();
        answer
    })
    .await
}

/// An event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Error,
    /// `[DONE]`
    Done,
    /// The rest of one after a cut.
    Broken,
}

impl Kind {
    fn of(event: &str, shape: Shape) -> Self {
        match data(event).map(serde_json::from_str) {
            Some(Ok(value)) if is_error(shape, &value, true) => Self::Error,
            Some(Ok(_)) => Self::Value,
            Some(Err(_)) if data(event) == Some("[DONE]") => Self::Done,
            Some(Err(_)) | None => Self::Broken,
        }
    }
}

/// True if a client of the dialect reads an error in this: an event, or the body of an answer with another status.
pub(super) fn is_error(shape: Shape, value: &Value, is_event: bool) -> bool {
    let text = |pointer: &str| value.pointer(pointer).is_some_and(Value::is_string);
    match shape {
        Shape::Responses if is_event => value["type"] == "error" && text("/message"),
        Shape::OpenAi | Shape::Responses => text("/error/message"),
        Shape::Anthropic => value["type"] == "error" && text("/error/type") && text("/error/message"),
        Shape::Ollama => text("/error"),
        Shape::Tgi => text("/error") && text("/error_type"),
    }
}

impl Answer {
    /// Compares it with what a node itself answers.
    pub(super) fn judge(&self, api: &Api, whole: &str) -> Saw {
        let json = || serde_json::from_str::<Value>(&self.body).unwrap_or_default();
        match self.status {
            200 if api.streams() => self.judge_stream(api, whole),
            200 if !self.is_broken
                && without_ids(json()) == without_ids(serde_json::from_str(whole).unwrap()) =>
            {
                Saw::Whole
            }
            400.. if !self.is_broken && is_error(api.dialect().shape, &json(), false) => Saw::Error,
            _ => self.strange(),
        }
    }

    fn judge_stream(&self, api: &Api, whole: &str) -> Saw {
        let shape = api.dialect().shape;
        let events = api.events(&self.body);
        let kinds: Vec<_> = events.iter().map(|event| Kind::of(event, shape)).collect();
        let Some(error) = kinds.iter().position(|kind| *kind == Kind::Error) else {
            let all = api.events(whole);
            let is_whole =
                !self.is_broken && !kinds.contains(&Kind::Broken) && api.said(&events) == api.said(&all);
            return match is_whole {
                true if is_ended(api, &events) && events.len() == all.len() => Saw::Whole,
                true if !is_ended(api, &events) => Saw::Unended,
                _ => self.strange(),
            };
        };
        // a cut may have left a part of the event before it
        let is_torn = self.is_broken && error > 0 && kinds[error - 1] == Kind::Broken;
        let good = error - usize::from(is_torn);
        let is_last = kinds[error + 1..].iter().all(|kind| *kind == Kind::Done);
        match kinds[..good].iter().all(|kind| *kind == Kind::Value) && is_last {
            true if !self.is_broken => Saw::Error,
            true if error + 1 == kinds.len() && !is_ended(api, &events[..good]) => Saw::Cut,
            _ => self.strange(),
        }
    }

    fn strange(&self) -> Saw {
        let cut = if self.is_broken { ", then cut" } else { "" };
        Saw::Strange(format!("{} {:?}{cut}", self.status, self.body))
    }
}

fn is_ended(api: &Api, events: &[&str]) -> bool {
    events.iter().any(|event| event.contains(api.end))
}

/// Each answer has its own.
fn without_ids(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|name, _| name != "id" && name != "created");
    }
    value
}
