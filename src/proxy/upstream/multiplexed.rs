//! Connections of HTTP/2 to the nodes, each with many streams: opened when none has room, and kept like the others.
//!
//! A connection belongs to the thread that opened it, whose requests share it, up to the streams that its node allows
//! (SETTINGS_MAX_CONCURRENT_STREAMS). Requests that come while one is being opened wait for that.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_listener::Event;
use h2::client::{Builder, SendRequest};
use parking_lot::Mutex;
use tokio::time::{Instant as Deadline, timeout_at};

use crate::fleet::NodeId;
use crate::tls::nodes::{self, Endpoint, NodeStream, Opening};

/// The most streams of a connection, whatever its node allows.
const STREAMS_MAX: usize = 1024;
/// The bytes of a body that a node may send ahead of a client that reads them.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Room for all streams of a connection, so that none waits for the clients of others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;
/// Largest head of a response, in bytes.
const HEAD_MAX: u32 = 1024 * 1024;

/// The connections that a thread shares, by the node's endpoint.
#[derive(Debug, Default)]
pub(super) struct Multiplexed {
    by_node: HashMap<Endpoint, Vec<Shared>>,
    /// Those that are being opened.
    opening: HashMap<Endpoint, Arc<Pending>>,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State(Mutex<Use>);

#[derive(Debug)]
struct Use {
    streams: usize,
    /// No further stream begins.
    is_over: bool,
    /// The last stream ended.
    since: Instant,
    /// `timeouts.idle`.
    idle: Duration,
}

/// A connection that is being opened, for those that wait for it.
#[derive(Debug, Default)]
struct Pending {
    done: Event,
    /// `None` after the end: the request that opened it has left.
    opened: Mutex<Option<Result<(), Unopened>>>,
}

/// The error's kind, and its number if the system gave it.
type Unopened = (io::ErrorKind, Option<i32>);

/// A place among the streams of a connection.
pub(crate) struct Slot {
    pub(super) sender: SendRequest<Bytes>,
    state: Arc<State>,
}

/// The next step of a request that needs a stream.
enum Turn {
    Take(Slot),
    Wait(Arc<Pending>),
    Open(Arc<Pending>),
}

/// Tells those that wait, however the opening ends.
struct Opener<'a> {
    list: &'a Mutex<Multiplexed>,
    endpoint: &'a Endpoint,
    pending: Arc<Pending>,
}

impl Shared {
    fn take(&self, idle: Duration) -> Option<Slot> {
        let max = self.sender.current_max_send_streams().min(STREAMS_MAX);
        let mut place = self.state.0.lock();
        if place.is_over || place.streams >= max {
            return None;
        }
        place.streams += 1;
        place.idle = idle;
        Some(Slot { sender: self.sender.clone(), state: Arc::clone(&self.state) })
    }

    /// The node closes it, or has: a GOAWAY shows here first.
    fn is_over(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.state.0.lock().is_over || matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn is_old(&mut self, now: Instant) -> bool {
        let is_idle = {
            let place = self.state.0.lock();
            place.streams == 0 && now.saturating_duration_since(place.since) >= place.idle
        };
        is_idle || self.is_over()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut place = self.state.0.lock();
        place.streams -= 1;
        place.since = Instant::now();
    }
}

impl Multiplexed {
    fn turn(&mut self, endpoint: &Endpoint, idle: Duration) -> Turn {
        if let Some(list) = self.by_node.get_mut(endpoint) {
            list.retain_mut(|one| !one.is_over());
            if let Some(slot) = list.iter().find_map(|one| one.take(idle)) {
                return Turn::Take(slot);
            }
        }
        match self.opening.get(endpoint) {
            Some(pending) => Turn::Wait(Arc::clone(pending)),
            None => {
                let pending = Arc::<Pending>::default();
                self.opening.insert(endpoint.clone(), Arc::clone(&pending));
                Turn::Open(pending)
            }
        }
    }

    fn share(&mut self, endpoint: &Endpoint, shared: Shared) {
        self.by_node.entry(endpoint.clone()).or_default().push(shared);
    }

    /// The same of one that was opened although others may have had room: beside them it is its request's alone, and closed
    /// after that.
    fn share_if_only(&mut self, endpoint: &Endpoint, shared: Shared) {
        let list = self.by_node.entry(endpoint.clone()).or_default();
        list.retain_mut(|one| !one.is_over());
        if list.is_empty() {
            list.push(shared);
        }
    }

    /// The connections that nobody needs any more.
    pub(super) fn remove_old(&mut self, now: Instant) -> Vec<Shared> {
        let mut old = Vec::new();
        self.by_node.retain(|_, list| {
            old.extend(list.extract_if(.., |one| one.is_old(now)));
            !list.is_empty()
        });
        old
    }
}

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        self.list.lock().opening.remove(self.endpoint);
        self.pending.done.notify(usize::MAX);
    }
}

/// A stream to this node at `address`, and whether its connection was there before. `fresh`: on one that is opened for it. A
/// request waits for `opening.limit`, and anew where a connection has become one that is full already.
pub(super) async fn stream(
    list: &Mutex<Multiplexed>,
    (node, address): (&NodeId, SocketAddr),
    opening: Opening,
    idle: Duration,
    fresh: bool,
) -> io::Result<(Slot, bool)> {
    let endpoint = Endpoint::of(&node.access.link, address);
    let mut deadline = Deadline::now() + opening.limit;
    if fresh {
        let (slot, shared) = open((node, address), (opening, deadline), idle).await?;
        list.lock().share_if_only(&endpoint, shared);
        return Ok((slot, false));
    }
    loop {
        // nothing is missed between the look and the wait: the list is locked while both are made ready
        let (turn, done) = {
            let mut list = list.lock();
            let turn = list.turn(&endpoint, idle);
            let done = if let Turn::Wait(pending) = &turn { Some(pending.done.listen()) } else { None };
            (turn, done)
        };
        match turn {
            Turn::Take(slot) => return Ok((slot, true)),
            Turn::Wait(pending) => {
                let waited = match done {
                    Some(done) => timeout_at(deadline, done).await.map(drop),
                    None => Ok(()),
                };
                match *pending.opened.lock() {
                    Some(Ok(())) => deadline = Deadline::now() + opening.limit,
                    Some(Err((kind, code))) => {
                        return Err(code.map_or_else(|| kind.into(), io::Error::from_raw_os_error));
                    }
                    None => waited?,
                }
            }
            Turn::Open(pending) => {
                let opener = Opener { list, endpoint: &endpoint, pending };
                let opened = open((node, address), (opening, deadline), idle).await;
                let unopened = |error: &io::Error| (error.kind(), error.raw_os_error());
                *opener.pending.opened.lock() = Some(opened.as_ref().map(drop).map_err(unopened));
                let (slot, shared) = opened?;
                list.lock().share(&endpoint, shared);
                return Ok((slot, false));
            }
        }
    }
}

/// A connection that is one of HTTP/2 by then, and a place on it.
async fn open(
    (node, address): (&NodeId, SocketAddr),
    (opening, deadline): (Opening, Deadline),
    idle: Duration,
) -> io::Result<(Slot, Shared)> {
    let limit = deadline.saturating_duration_since(Deadline::now());
    let stream = nodes::connect(node, address, Opening { limit, ..opening }).await?;
    let (sender, state) = timeout_at(deadline, begin(stream, idle)).await?.inspect_err(|error| {
        nodes::tell_refusal(node, error);
    })?;
    let shared = Shared { sender, state };
    let slot = shared.take(idle).ok_or(io::ErrorKind::ConnectionReset)?;
    Ok((slot, shared))
}

/// Opens a connection, and waits for the node's first word: that it speaks HTTP/2, takes this certificate of ours, and how many streams
/// it allows.
async fn begin(stream: NodeStream, idle: Duration) -> io::Result<(SendRequest<Bytes>, Arc<State>)> {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_MAX)
        .enable_push(false);
    let (sender, mut connection) = builder.handshake(stream).await.map_err(no_http2)?;
    let mut ping = connection.ping_pong().ok_or(io::ErrorKind::InvalidInput)?;
    {
        let mut answered = pin!(ping.ping(h2::Ping::opaque()));
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(no_http2(error))),
            Poll::Pending => answered.as_mut().poll(cx).map_ok(drop).map_err(no_http2),
        })
        .await?;
    }
    let place = Use { streams: 0, is_over: false, since: Instant::now(), idle };
    let state = Arc::new(State(Mutex::new(place)));
    let ended = Arc::clone(&state);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("a connection of HTTP/2 has ended: {error}");
        }
        ended.0.lock().is_over = true;
    });
    Ok((sender, state))
}

/// A connection that did not become one of HTTP/2.
fn no_http2(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::InvalidData, format!("it does not speak HTTP/2: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::fleet::{Access, Addresses};

    const LIMIT: Duration = Duration::from_secs(10);
    const OPENING: Opening = Opening { limit: LIMIT, patience: LIMIT };

    fn node(address: SocketAddr) -> NodeId {
        NodeId {
            pool: "p".into(),
            name: "a".into(),
            address: address.to_string().parse().expect("an address"),
            addresses: Addresses::default(),
            access: Access::default(),
        }
    }

    /// Of a node that takes connections and says nothing: the opening has one limit, and a request that waits for the opening of
    /// another one, which leaves, has its own.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (list, node) = (Mutex::default(), node(address));
        let asks = || stream(&list, (&node, address), OPENING, LIMIT, false);
        let leaves = tokio::time::timeout(LIMIT * 9 / 10, asks());
        let began = Deadline::now();
        let (left, waited) = tokio::join!(leaves, asks());
        assert!(left.is_err());
        assert_eq!(waited.map(drop).expect_err("no stream").kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < LIMIT * 11 / 10, "{:?}", began.elapsed());
    }
}
