//! Judging an answer strictly from the client's side: every token once and in order, with a proper end.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use http::{Request, Version};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::timeout;

use super::harness::{Client, LIMIT, Outgoing};
use super::rows::TOKENS;

/// The client's view of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    /// 200 and each token once, in order. A stream also has one id, one role, one finish reason, and one `[DONE]` at its end.
    Whole,
    /// Anything else, in words.
    Failure(String),
}

impl fmt::Display for Saw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Saw::Whole => f.write_str("the whole answer"),
            Saw::Failure(what) => f.write_str(what),
        }
    }
}

/// A response, as far as it arrived.
pub(crate) struct Answer {
    status: u16,
    body: Vec<u8>,
    broken: Option<&'static str>,
}

/// Sends a request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut answer = Answer { status: 0, body: Vec::new(), broken: None };
    let broken = match timeout(LIMIT, receive(address, request.to_owned(), &mut answer)).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("cut off"),
        Err(_) => Some("no end"),
    };
    Answer { broken, ..answer }
}

async fn receive(address: SocketAddr, request: String, answer: &mut Answer) -> hyper::Result<()> {
    let mut client = Client::to(address, Version::HTTP_11).await;
    let body = Outgoing::sized(request.into());
    let request = Request::post(format!("http://{address}/v1/chat/completions")).body(body).unwrap();
    let response = client.begin_patiently(request).await?;
    answer.status = response.status().as_u16();
    let mut incoming = response.into_body();
    while let Some(frame) = incoming.frame().await {
        answer.body.extend(frame?.into_data().unwrap_or_default());
    }
    Ok(())
}

/// The contents of an answer, whole or streamed.
#[derive(Default)]
pub(crate) struct Said {
    text: String,
    /// Prompt tokens, completion tokens.
    usage: Option<(u64, u64)>,
    ids: BTreeSet<String>,
    roles: usize,
    reasons: Vec<String>,
    errors: usize,
    done: usize,
    /// Data after `[DONE]`, or data that is not an event.
    strange: Option<String>,
}

impl Answer {
    /// The contents of an answer that is known to be good.
    pub(crate) fn good(&self, stream: bool) -> Said {
        let said = self.said(stream);
        let judged = self.judge(stream, &said);
        let is_good = judged == Saw::Whole && said.usage.is_some_and(|(_, tokens)| tokens == TOKENS);
        assert!(is_good, "{judged}: {}", String::from_utf8_lossy(&self.body));
        said
    }

    fn said(&self, stream: bool) -> Said {
        let text = String::from_utf8_lossy(&self.body);
        let mut said = Said::default();
        if !stream {
            said.take(&serde_json::from_str(&text).unwrap_or_default(), "message");
            return said;
        }
        for event in text.split_terminator("\n\n") {
            let data = event.strip_prefix("data: ").unwrap_or_default();
            match serde_json::from_str::<Value>(data) {
                _ if said.done > 0 => said.strange = Some(event.to_owned()),
                Ok(value) => said.take(&value, "delta"),
                Err(_) if data == "[DONE]" => said.done += 1,
                Err(_) => said.strange = Some(event.to_owned()),
            }
        }
        said
    }

    /// Compares with the expected contents.
    pub(crate) fn judge(&self, stream: bool, expected: &Said) -> Saw {
        let said = self.said(stream);
        let (status, words) = (self.status, said.text.split_whitespace().count() as u64);
        let mut wrong = Vec::new();
        let mut want = |holds: bool, what: String| wrong.extend((!holds).then_some(what));
        want(status == 200, format!("`{status}`"));
        want(said.reasons.len() < 2, format!("`finish_reason` {:?}", said.reasons));
        let reason = said.reasons.first().map_or("length", String::as_str);
        want(reason == "length", format!("`finish_reason: \"{reason}\"`"));
        want(said.ids.len() == 1, format!("{} ids", said.ids.len()));
        want(said.roles == 1, format!("{} roles", said.roles));
        want(said.errors == 0, "error event".to_owned());
        want(said.done == usize::from(stream), "no `[DONE]`".to_owned());
        want(said.strange.is_none(), format!("then {:?}", said.strange.clone().unwrap_or_default()));
        want(self.broken.is_none(), self.broken.unwrap_or_default().to_owned());
        let is_complete = said.text == expected.text;
        // an answer that broke off lacks both anyway
        if wrong.is_empty() && is_complete {
            wrong.extend(said.reasons.is_empty().then(|| "no `finish_reason`".to_owned()));
            wrong.extend((said.usage != expected.usage).then(|| format!("usage {:?}", said.usage)));
        }
        if wrong.is_empty() && is_complete {
            return Saw::Whole;
        }
        let text = match expected.text.starts_with(&said.text) {
            true => format!("{words} of {TOKENS} tokens"),
            false => format!("other words: {:?}", said.text),
        };
        wrong.insert(0, text);
        Saw::Failure(wrong.join(", "))
    }
}

impl Said {
    /// Reads an event of a stream, or a whole answer; `part` is the field of the choice that holds the text.
    fn take(&mut self, value: &Value, part: &str) {
        if value.get("error").is_some_and(|error| !error.is_null()) {
            self.errors += 1;
            return;
        }
        self.ids.extend(value["id"].as_str().map(str::to_owned));
        let choice = &value["choices"][0];
        let text = choice[part]["content"].as_str().unwrap_or_default();
        self.text.push_str(text);
        let used = |what: &str| value["usage"][what].as_u64();
        self.usage = used("prompt_tokens").zip(used("completion_tokens")).or(self.usage);
        self.roles += usize::from(choice[part]["role"].is_string());
        self.reasons.extend(choice["finish_reason"].as_str().map(str::to_owned));
    }
}
