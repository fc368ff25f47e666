//! The spans of a request that has ended, in OpenTelemetry's words (semantic conventions for HTTP): one of its own, and one for each
//! attempt.
//!
//! A span holds no query, body, credential or address of a client.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::access_log::Entry;
use crate::balance::By;
use crate::classify::dialect::Dialect;
use crate::journey::{FINISHED, Tried};
use crate::outcome::Outcome;
use crate::trace::Trace;

/// The longest text in an attribute that a client has chosen, in bytes.
const TEXT_MAX: usize = 256;
/// The methods that have a name of their own there.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A request that has ended, and its trace.
#[derive(Debug)]
pub struct Ended {
    pub trace: Box<Trace>,
    pub entry: Entry,
    /// The time of its end, by both clocks.
    pub at: Instant,
    pub wall: SystemTime,
}

impl Ended {
    /// The number of its spans.
    pub fn count(&self) -> u64 {
        1 + self.entry.attempts.len() as u64
    }

    /// Its own span, and then those of its attempts in their order.
    pub fn spans(&self, scope: &InstrumentationScope) -> Vec<SpanData> {
        let attempts = self.entry.attempts.iter().enumerate();
        let attempts = attempts.map(|(index, tried)| self.attempt(index + 1, tried, scope));
        std::iter::once(self.request(scope)).chain(attempts).collect()
    }

    fn request(&self, scope: &InstrumentationScope) -> SpanData {
        let entry = &self.entry;
        let method = method(&entry.method);
        let route = Dialect::with_ending(&entry.path).map(|(ending, _)| ending);
        let name = match (route, &entry.pool) {
            (Some(route), _) => format!("{method} {route}"),
            (None, Some(pool)) => format!("{method} {pool}"),
            (None, None) => method.to_owned(),
        };
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.path", cut(&entry.path)),
            KeyValue::new("http.response.status_code", i64::from(entry.status)),
            KeyValue::new("evenkeel.request_id", cut(&entry.request_id)),
            KeyValue::new("evenkeel.queue_seconds", entry.queue.as_secs_f64()),
        ];
        let mut put = |key, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(key, value)));
        };
        put("http.route", route.map(Value::from));
        put("evenkeel.key", entry.key.clone().map(Value::from));
        put("evenkeel.pool", entry.pool.clone().map(Value::from));
        put("evenkeel.class", entry.class.map(|class| class.as_str().into()));
        put("evenkeel.ttft_seconds", entry.ttft.map(|ttft| ttft.as_secs_f64().into()));
        put("evenkeel.note", entry.note.map(Value::from));
        let error = self.error();
        let is_error = error.is_some();
        put("error.type", error);
        let times = (self.wall.checked_sub(entry.total).unwrap_or(self.wall), self.wall);
        SpanData {
            parent_span_id: self.trace.parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: self.trace.parent.is_some(),
            attributes,
            status: if is_error { Status::error("") } else { Status::Unset },
            ..self.span(self.trace.span, (SpanKind::Server, name.into()), times, scope)
        }
    }

    /// The failure that its client has seen: a status, or an answer that broke off.
    fn error(&self) -> Option<Value> {
        let entry = &self.entry;
        if entry.status >= 500 {
            return Some(entry.status.to_string().into());
        }
        let last = entry.attempts.last().map(|tried| tried.outcome)?;
        let is_broken = entry.status < 400 && last.is_failure() && entry.note != Some(FINISHED);
        is_broken.then(|| last.as_str().into())
    }

    fn attempt(&self, nth: usize, tried: &Tried, scope: &InstrumentationScope) -> SpanData {
        let method = method(&self.entry.method);
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("evenkeel.node", tried.node.clone()),
            KeyValue::new("evenkeel.outcome", tried.outcome.as_str()),
        ];
        let mut put = |key, value: Option<Value>| {
            attributes.extend(value.map(|value| KeyValue::new(key, value)));
        };
        put("evenkeel.by", (tried.by != By::LeastInFlight).then(|| tried.by.as_str().into()));
        put("http.response.status_code", tried.status.map(|status| i64::from(status).into()));
        put(
            "http.request.resend_count",
            i64::try_from(nth - 1).ok().filter(|count| *count > 0).map(Value::from),
        );
        let is_error = !matches!(tried.outcome, Outcome::Ok | Outcome::ClientGone);
        put("error.type", is_error.then(|| tried.outcome.as_str().into()));
        let name = format!("{method} {}", tried.node);
        let times = (self.wall_of(tried.began), self.wall_of(tried.ended));
        SpanData {
            parent_span_id: self.trace.span.into(),
            attributes,
            status: if is_error { Status::error("") } else { Status::Unset },
            ..self.span(self.trace.attempt(nth), (SpanKind::Client, name.into()), times, scope)
        }
    }

    fn span(
        &self,
        id: u64,
        (span_kind, name): (SpanKind, Cow<'static, str>),
        (start_time, end_time): (SystemTime, SystemTime),
        scope: &InstrumentationScope,
    ) -> SpanData {
        let (trace, flags) = (self.trace.id.into(), TraceFlags::SAMPLED);
        SpanData {
            span_context: SpanContext::new(trace, id.into(), flags, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind,
            name,
            start_time,
            end_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.clone(),
        }
    }

    fn wall_of(&self, at: Instant) -> SystemTime {
        self.wall.checked_sub(self.at.saturating_duration_since(at)).unwrap_or(self.wall)
    }
}

fn method(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or("_OTHER")
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
