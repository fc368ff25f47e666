//! Comments for a client whose stream is silent (`client.sse_keepalive`): a balancer in front of the gateway may cut a
//! connection on which nothing comes for a minute, and a long prompt takes longer.
//!
//! They are written between two events, while the gateway waits for something else. They are the gateway's own: no sign of life
//! of a node, and no part of an answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use super::client::{Client, First, Left, Presence, Sent, Start, Unwritten};
use super::own_error::OwnError;
use super::tail::Tail;
use crate::classify::dialect::Shape;
use crate::forwarded::X_REQUEST_ID;
use crate::http1::{ResponseHead, parse_response};
use crate::live::{Live, UnderWay};

const COMMENT: &[u8] = b": keep-alive\n\n";
/// Anthropic's own; its clients skip it anywhere.
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";
/// The head of a stream that no node has begun.
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n\r\n";

/// A client that is kept company while its stream is silent.
pub(crate) struct Accompanied<C> {
    client: C,
    /// An operator may end the request.
    under_way: Option<Arc<UnderWay>>,
    /// `None`: not wanted, or the answer is no stream.
    beat: Option<Box<Beat>>,
}

/// The time and the form of the next comment.
pub(crate) struct Beat {
    live: Arc<Live>,
    every: Duration,
    comment: &'static [u8],
    request_id: String,
    /// A page of another origin may read the answer.
    is_cross_origin: bool,
    /// The fields that tell what is left to its key.
    limits: Vec<(&'static str, String)>,
    /// The client was written to.
    last: Instant,
    timer: Pin<Box<Sleep>>,
    tail: Tail,
}

impl Beat {
    pub(crate) fn new(
        live: Arc<Live>,
        every: Duration,
        shape: Shape,
        request_id: String,
        is_cross_origin: bool,
        limits: Vec<(&'static str, String)>,
    ) -> Box<Self> {
        let comment = if shape == Shape::Anthropic { PING } else { COMMENT };
        let last = Instant::now();
        let timer = Box::pin(sleep_until(last + every));
        let tail = Tail::default();
        Box::new(Self { live, every, comment, request_id, is_cross_origin, limits, last, timer, tail })
    }

    /// Resolves after each silence, if no event is half written. The timer is set once and moved when it fires, because events
    /// mostly come long before.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let is_silent = now >= self.last + self.every;
            if is_silent && self.tail.is_boundary() {
                return Poll::Ready(());
            }
            let end = if is_silent { now } else { self.last } + self.every;
            self.timer.as_mut().reset(end);
        }
    }

    fn wrote(&mut self, chunk: &[u8]) {
        self.last = Instant::now();
        self.tail.follow(chunk);
    }
}

impl<C: Client> Accompanied<C> {
    pub(crate) fn new(client: C, under_way: Option<Arc<UnderWay>>, beat: Option<Box<Beat>>) -> Self {
        Self { client, under_way, beat }
    }

    pub(crate) fn into_inner(self) -> C {
        self.client
    }

    async fn turn<T>(&mut self, first: First, mut what: Pin<&mut impl Future<Output = T>>) -> Turn<T> {
        let Self { client, under_way, beat } = self;
        let mut gone = pin!(client.gone());
        poll_fn(|cx| {
            let mut is_gone =
                |cx: &mut Context<'_>| poll_gone(gone.as_mut(), under_way.as_deref(), cx).is_ready();
            if first == First::Client && is_gone(cx) {
                return Poll::Ready(Turn::Left);
            }
            if let Poll::Ready(done) = what.as_mut().poll(cx) {
                return Poll::Ready(Turn::Done(done));
            }
            if first == First::Node && is_gone(cx) {
                return Poll::Ready(Turn::Left);
            }
            match beat {
                Some(beat) => beat.poll_due(cx).map(|()| Turn::Due),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn beat(&mut self) -> Result<(), Left> {
        let Some(beat) = &mut self.beat else { return Ok(()) };
        let comment = Bytes::from_static(beat.comment);
        let written = if self.client.sent().status.is_some() {
            self.client.write(comment, false).await
        } else {
            let head = early_head();
            let mut ours = vec![(X_REQUEST_ID, &*beat.request_id)];
            ours.extend(beat.is_cross_origin.then_some(("Access-Control-Allow-Origin", "*")));
            ours.extend(beat.limits.iter().map(|(name, value)| (*name, value.as_str())));
            let start = Start { head: &head, ours: &ours, closes: beat.live.is_stopping() };
            self.client.begin(start, comment, false).await
        };
        beat.wrote(beat.comment);
        written.map_err(|_| Left)
    }
}

fn early_head() -> ResponseHead {
    let head = parse_response(&mut Bytes::from_static(HEAD));
    head.ok().flatten().expect("a constant head")
}

enum Turn<T> {
    Left,
    Done(T),
    Due,
}

/// Ready when the client has left, or an operator has ended the request.
fn poll_gone(
    gone: Pin<&mut impl Future<Output = ()>>,
    under_way: Option<&UnderWay>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if gone.poll(cx).is_ready() {
        return Poll::Ready(());
    }
    under_way.map_or(Poll::Pending, |one| one.poll_cancelled(cx))
}

impl<C: Client> Presence for Accompanied<C> {
    async fn gone(&mut self) {
        let Self { client, under_way, .. } = self;
        let mut gone = pin!(client.gone());
        poll_fn(|cx| poll_gone(gone.as_mut(), under_way.as_deref(), cx)).await;
    }

    async fn attend<T: Send>(
        &mut self,
        first: First,
        mut what: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> Result<T, Left> {
        loop {
            match self.turn(first, what.as_mut()).await {
                Turn::Left => return Err(Left),
                Turn::Done(done) => return Ok(done),
                Turn::Due => {}
            }
            // rare, and it would take its room in each of the many places that wait
            Box::pin(self.beat()).await?;
        }
    }
}

impl<C: Client> Client for Accompanied<C> {
    fn begin(
        &mut self,
        start: Start<'_>,
        chunk: Bytes,
        ended: bool,
    ) -> impl Future<Output = Result<(), Unwritten>> + Send {
        if is_stream(start.head) {
            self.beat.iter_mut().for_each(|beat| beat.wrote(&chunk));
        } else {
            self.beat = None;
        }
        self.client.begin(start, chunk, ended)
    }

    fn write(&mut self, chunk: Bytes, ended: bool) -> impl Future<Output = Result<(), Unwritten>> + Send {
        self.beat.iter_mut().for_each(|beat| beat.wrote(&chunk));
        self.client.write(chunk, ended)
    }

    fn refuse(&mut self, error: &OwnError<'_>) -> impl Future<Output = Result<(), Unwritten>> + Send {
        self.client.refuse(error)
    }

    fn leave_alone(&mut self) {
        self.beat = None;
    }

    fn sent(&self) -> Sent {
        self.client.sent()
    }
}

/// A comment fits between two events, if the body is neither packed nor of a length that was told.
fn is_stream(head: &ResponseHead) -> bool {
    let kind = head.fields.get("content-type").unwrap_or_default();
    let is_event_stream = kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"));
    is_event_stream && !head.fields.contains("content-encoding") && head.content_length().is_none()
}
