//! A request whose body has been read: everything that its journey needs, without the session it came by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Version};
use pingora::http::RequestHeader;

use super::super::caller::Caller;
use super::super::downstream::client::{Sent, Unwritten};
use super::super::downstream::own_error::Form;
use super::super::finish::LoggedRequest;
use super::super::upload::Upload;
use super::super::upstream::outlet::Outlet;
use super::events::Watch;
use super::fallback::Fallback;
use super::node_head::NodeHead;
use crate::classify::asks_for_events;
use crate::config::{Engine, HttpVersion};
use crate::fleet::{Call, Member, NodeId};
use crate::http1::{self, ResponseHead};
use crate::journey::{Ending, Failure, Journey};
use crate::live::Share;
use crate::outcome::Outcome;
use crate::resume::{Kind, NextRequest, NodeBody, NotResumable, Original, Priority};
use crate::retry::Repeat;
use crate::route::{self, Alias, Place, Renamer};

/// One request on its way.
pub(crate) struct Request {
    pub caller: Caller,
    pub asked: LoggedRequest,
    pub journey: Journey<Fallback>,
    pub body: KeptBody,
    pub(super) head: NodeHead,
    /// The place of its model.
    pub place: Place,
    pub is_head: bool,
    /// The form of the gateway's own errors.
    pub form: Form,
    /// The traits of the request that the answer's head depends on.
    pub spoken: http1::ReplyTo,
    original: Option<Box<Reading>>,
    /// Its model has another name for its pool.
    pub(super) renamed: Option<Box<Renamed>>,
    /// The request in OpenTelemetry's words, if they are asked for.
    pub call: Option<Box<Call>>,
    /// From the request's first line to the first byte of the response's body.
    pub ttft: Option<Duration>,
    /// The node under way has sent a part of the answer that has gone on.
    is_answered: bool,
    /// The last event of an answer that an operator has ended; it may be empty.
    farewell: Option<Bytes>,
}

/// A request that was read for `retry.resume`.
struct Reading {
    /// For an engine: a reload may move the request to another pool.
    engine: Engine,
    original: Result<Original, NotResumable>,
}

/// The client's name for the model, and what puts it into the answers.
pub(super) struct Renamed {
    pub alias: Alias,
    renamer: Renamer,
}

/// The request's body.
pub(crate) enum KeptBody {
    /// It may have to be sent again. The share is of `retry.body_total`.
    Kept { bytes: Bytes, share: Option<Share> },
    /// It is not kept: it goes from the client to one node as it comes. `length`: as its head announces it; else it is chunked.
    Passing { upload: Arc<Upload>, length: Option<u64> },
    /// No node needs it any more.
    Released,
}

/// A request as it is sent to a node.
pub(crate) enum Sending<'a> {
    Kept(&'a [u8], NodeBody),
    Passing(Box<Outlet>),
}

impl Request {
    /// `raw`: the header's bytes, where it came by HTTP/1.
    pub(crate) fn new(
        caller: Caller,
        header: &RequestHeader,
        raw: Option<&[u8]>,
        member: Member,
        place: Place,
        (bytes, share): (Bytes, Option<Share>),
    ) -> Self {
        let body = KeptBody::Kept { bytes: bytes.clone(), share };
        Self::with(caller, header, raw, member, place, (body, &bytes))
    }

    /// `bytes`: as much of the body as has been read.
    pub(super) fn with(
        caller: Caller,
        header: &RequestHeader,
        raw: Option<&[u8]>,
        member: Member,
        place: Place,
        (body, bytes): (KeptBody, &Bytes),
    ) -> Self {
        let asked = LoggedRequest::of(header);
        let path = caller.node_path(&asked.path);
        let form = Form::of(header, path);
        // a body that has not been read says nothing
        let whole = matches!(body, KeptBody::Kept { .. }).then_some((&place, &**bytes));
        let repeat = if whole.is_some() { route::repeat(&member, &asked.method, path) } else { Repeat::Once };
        let mut journey = Journey::new(member, header.method == Method::POST, repeat);
        let other = match whole {
            Some(_) => caller.other(journey.member(), &place, (bytes, None), (&asked.method, path)),
            None => caller.other_once(journey.member(), &place),
        };
        journey.may_spill_to(caller.placed(other, journey.member(), &header.headers, whole));
        journey.converse(route::conversation(&place, &asked.method, path, bytes));
        journey.set_profile(caller.profile(&journey.member().conf, &header.headers, whole));
        journey.set_due(caller.due(&journey.member().conf, &header.headers));
        let call = caller.call(journey.member(), (&asked.method, &asked.path), whole);
        let head = NodeHead::of(&caller, header, raw);
        let is_head = header.method == Method::HEAD;
        let spoken = http1::ReplyTo { is_head, is_http10: header.version == Version::HTTP_10 };
        Self {
            caller,
            asked,
            journey,
            body,
            head,
            place,
            is_head,
            form,
            spoken,
            original: None,
            renamed: None,
            call,
            ttft: None,
            is_answered: false,
            farewell: None,
        }
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.journey.repeat() == Repeat::Allowed
    }

    /// A node must not see twice what may not be repeated, not even because its connection was stale. A node of HTTP/2
    /// says which requests it has not taken.
    pub(super) fn needs_fresh_connection(&self) -> bool {
        !self.is_repeatable() && self.journey.member().conf.http_version == HttpVersion::H1
    }

    /// Its path as nodes get it; the log has the client's.
    pub(super) fn node_path(&self) -> &str {
        self.caller.node_path(&self.asked.path)
    }

    /// Head and body for the next node, with the journey that they are sent on. `limit`: `timeouts.send`.
    pub(crate) fn wire(
        &mut self,
        node: (&NodeId, SocketAddr),
        limit: Duration,
    ) -> (Sending<'_>, &Journey<Fallback>) {
        let trace = self.caller.trace.as_ref().map(|trace| trace.traceparent(self.journey.attempts()));
        let trace = trace.as_ref().map(|trace| &trace[..]);
        if let KeptBody::Passing { upload, length } = &self.body {
            let head = Bytes::copy_from_slice(self.head.wire(node, *length, trace));
            let outlet = Outlet::new(upload, head, length.is_none(), limit);
            return (Sending::Passing(outlet), &self.journey);
        }
        self.read_original();
        let original = self.original.as_ref().filter(|_| self.is_repeatable());
        let original = original.and_then(|reading| reading.original.as_ref().ok());
        let with_wish = |bytes: &Bytes| match original {
            Some(original) => original.for_node(bytes),
            None => NodeBody::as_it_came(bytes.clone()),
        };
        let body = match (&self.body, self.priority()) {
            (KeptBody::Kept { bytes, .. }, None) => with_wish(bytes),
            (KeptBody::Kept { bytes, .. }, Some(priority)) => match priority.replaced(bytes) {
                Some(replaced) => with_wish(&replaced),
                None => priority.add_to(with_wish(bytes)),
            },
            (KeptBody::Passing { .. } | KeptBody::Released, _) => NodeBody::default(),
        };
        let head = self.head.wire(node, Some(body.len() as u64), trace);
        (Sending::Kept(head, body), &self.journey)
    }

    /// The number by which the node's engine orders its requests, if it is to get one.
    fn priority(&self) -> Option<Priority> {
        let (pool, class) = (&self.journey.member().conf, self.journey.profile().class);
        let takes_one = self.asked.method == "POST" && !self.place.is_packed();
        if takes_one { Priority::of(pool, class, self.node_path()) } else { None }
    }

    /// Reads the request, as far as continuing its answer depends on it, before its first node gets it.
    fn read_original(&mut self) {
        if self.journey.has_begun() {
            return;
        }
        let conf = &self.journey.member().conf;
        let engine = conf.retry.resume.then_some(conf.engine);
        if self.original.as_ref().map(|reading| reading.engine) == engine {
            return;
        }
        let path = self.node_path();
        self.original = match (engine, Kind::of(path), &self.body) {
            (Some(engine), Some(kind), KeptBody::Kept { bytes, .. }) => {
                let original = Original::read(kind, path, engine, &conf.retry, bytes);
                Some(Box::new(Reading { engine, original }))
            }
            _ => None,
        };
    }

    /// The request as it was read, for the transcript of its answer. `None` if nobody would continue that.
    pub(crate) fn take_original(&mut self) -> Option<Result<Original, NotResumable>> {
        self.original.take().map(|reading| reading.original)
    }

    /// Names what it asks for: a node has refused it.
    pub(crate) fn name_subject(&mut self) {
        if let KeptBody::Kept { bytes, .. } = &self.body {
            let model = route::subject(&self.place, bytes, self.node_path());
            self.journey.set_subject(&model, route::credential(self.head.as_sent()));
        }
    }

    /// A head of the gateway's own may have gone out meanwhile.
    pub(crate) fn note_head(&mut self, sent: Sent) {
        if sent.status.is_some() {
            self.journey.open_early();
        }
    }

    /// The client wants a stream of server-sent events.
    pub(crate) fn asks_for_events(&self) -> bool {
        let KeptBody::Kept { bytes, .. } = &self.body else { return false };
        self.asked.method == "POST" && asks_for_events(self.node_path(), bytes)
    }

    /// Gives the model the name that it has in the request's pool. An error: it cannot be replaced.
    pub(super) fn fit(&mut self) -> Result<(), Failure> {
        let conf = &self.journey.member().conf;
        let KeptBody::Kept { bytes, .. } = &mut self.body else { return Ok(()) };
        // a continuation has a body of its own
        if conf.models.aliases.is_empty() && self.renamed.is_none() || self.journey.has_begun() {
            return Ok(());
        }
        if self.renamed.is_none() {
            let Some(alias) = Alias::of(&conf.models, &self.place, bytes)? else { return Ok(()) };
            // an answer that is packed could not be changed
            self.head.remove(b"accept-encoding");
            let renamer = alias.renamer();
            self.renamed = Some(Box::new(Renamed { alias, renamer }));
        }
        if let Some(renamed) = &mut self.renamed {
            let replaced = renamed.alias.replaced(bytes, &conf.models);
            if replaced.as_ptr() != bytes.as_ptr() {
                *bytes = replaced;
                self.original = None;
            }
        }
        Ok(())
    }

    /// A response with this head begins.
    pub(super) fn answers_with(&mut self, head: &ResponseHead) {
        if let Some(renamed) = &mut self.renamed {
            let kind = head.fields.get("content-type").filter(|_| !self.is_head);
            renamed.renamer.begin(kind, head.fields.get("content-encoding"));
        }
    }

    /// It is a stream whose length may change.
    pub(super) fn renames_stream(&self) -> bool {
        self.renamed.as_ref().is_some_and(|renamed| renamed.renamer.is_in_lines())
    }

    /// The bytes for the client, with its own name for the model.
    pub(super) fn rename(&mut self, chunk: Bytes) -> Bytes {
        match &mut self.renamed {
            Some(renamed) => renamed.renamer.push(chunk),
            None => chunk,
        }
    }

    /// The same of the first bytes, with a head that fits them. `ended`: they are all.
    pub(super) fn rename_start(&mut self, head: &mut ResponseHead, start: Bytes, ended: bool) -> Bytes {
        let Some(renamed) = &mut self.renamed else { return start };
        let start = renamed.renamer.push(start);
        if renamed.renamer.changes() && head.content_length().is_some() {
            head.set_length(ended.then_some(start.len()));
        }
        start
    }

    /// Another node goes on with the client's stream, when it gets this request.
    pub(crate) fn go_on_with(&mut self, next: NextRequest) {
        let share = match std::mem::replace(&mut self.body, KeptBody::Released) {
            KeptBody::Kept { share, .. } => share,
            KeptBody::Passing { .. } | KeptBody::Released => None,
        };
        self.body = KeptBody::Kept { bytes: next.body, share };
        self.head.aim_at(next.path.as_deref());
        self.is_answered = false;
    }

    /// Gives back what only another attempt would need, once there can be none. It may be a lot of memory, and the
    /// response may take a day.
    pub(crate) fn release(&mut self) {
        if let KeptBody::Kept { bytes, .. } = &mut self.body
            && self.journey.has_begun()
        {
            // a stream that can be continued keeps what it needs
            *bytes = Bytes::new();
            if !self.journey.needs_body() {
                self.body = KeptBody::Released;
                self.head.release();
            }
        }
    }

    /// The first byte of the answer's body has come.
    pub(crate) fn note_first_byte(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.ttft.get_or_insert_with(|| now.saturating_duration_since(self.caller.started));
            self.caller.is_answered(now);
        }
    }

    /// Its client's side has ended in the middle of an answer: an operator may have done that.
    pub(super) fn say_farewell(&mut self, watch: Option<&Watch>) {
        if self.caller.is_cancelled() {
            self.farewell =
                Some(watch.map(|watch| watch.closing_event(Outcome::ClientGone)).unwrap_or_default());
        }
    }

    /// The same within a write: after a part of one nothing more can be said.
    pub(super) fn say_nothing(&mut self, unwritten: Unwritten) {
        if unwritten == Unwritten::ClientLeft {
            self.farewell = Some(Bytes::new());
        }
    }

    /// The ending as its client is to see it.
    pub(super) fn ending(&mut self, ending: Ending) -> Ending {
        if ending != Ending::Left {
            return ending;
        }
        if self.caller.is_cancelled() {
            return self.journey.cancelled(self.farewell.take());
        }
        match &self.body {
            KeptBody::Passing { upload, .. } if !self.journey.has_head() => {
                upload.take_fault().map_or(Ending::Left, Ending::Failed)
            }
            _ => Ending::Left,
        }
    }

    /// A node has sent a part of the answer, which has so many tokens now.
    pub(crate) fn hears(&self, tokens: u64, now: Instant) {
        self.caller.hears(tokens, now);
    }
}
