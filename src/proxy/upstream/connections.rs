//! Connections to the nodes, kept while nobody needs them, and used again.
//!
//! Pingora's pool starts a task and a timer for each connection that is given back. Here a connection that is kept waits
//! in a list, where the runtime notes it if the node closes it, and all lists are looked through now and then.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::multiplexed::{self, Multiplexed, Slot};
use crate::fleet::NodeId;
use crate::outcome::Outcome;
use crate::tls::nodes::{Endpoint, NodeStream, Opening};

/// The outcome of an attempt that got no connection. Without files, buffers or memory of its own the gateway could reach no
/// node, and none is to blame.
pub(crate) fn connect_outcome(error: &io::Error) -> Outcome {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    if error.raw_os_error().is_none_or(|code| ![ENOMEM, ENFILE, EMFILE, ENOBUFS].contains(&code)) {
        return Outcome::Connect;
    }
    log::error!("cannot open a connection to any node: {error}; raise the limit of open files (ulimit -n)");
    Outcome::Gateway
}

/// Most connections that are kept, of all threads together.
const KEPT_MAX: usize = 16 * 1024;
/// Interval at which connections are closed that are too old, or that their node has closed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// The list that this thread uses.
    static LIST: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

/// The connections that wait for a request. Each thread has a list of its own, so that a connection stays with the
/// runtime that polls it and no thread waits for another.
#[derive(Debug)]
pub struct Connections {
    lists: Box<[Mutex<Kept>]>,
    streams: Box<[Mutex<Multiplexed>]>,
}

/// By node, the most recently used last.
#[derive(Debug, Default)]
struct Kept {
    by_node: HashMap<Endpoint, Vec<Idle>>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    stream: NodeStream,
    until: Instant,
}

impl Connections {
    /// For so many threads.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let lists = (0..threads).map(|_| Mutex::default()).collect();
        Self { lists, streams: (0..threads).map(|_| Mutex::default()).collect() }
    }

    fn list(&self) -> &Mutex<Kept> {
        &self.lists[LIST.with(|list| *list) % self.lists.len()]
    }

    /// One that was kept, if it is still open.
    pub fn reuse(&self, node: &Endpoint) -> Option<NodeStream> {
        let mut list = self.list().lock();
        while let Some(mut idle) = list.take(node) {
            if idle.stream.is_silent() && idle.until > Instant::now() {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps an idle connection for so long; closes it if too many are kept.
    pub fn keep(&self, node: Endpoint, stream: NodeStream, idle: Duration) {
        let Some(until) = Instant::now().checked_add(idle).filter(|_| !idle.is_zero()) else { return };
        let share = KEPT_MAX / self.lists.len();
        let mut list = self.list().lock();
        if list.count < share {
            list.count += 1;
            list.by_node.entry(node).or_default().push(Idle { stream, until });
        }
    }

    /// A stream of HTTP/2 to this node at `address`, and whether its connection was there before. `fresh`: on one that is opened for it.
    /// Those are neither counted nor bounded here: there are as many as the requests in flight need.
    pub(crate) async fn stream(
        &self,
        node: (&NodeId, SocketAddr),
        opening: Opening,
        idle: Duration,
        fresh: bool,
    ) -> io::Result<(Slot, bool)> {
        let list = &self.streams[LIST.with(|list| *list) % self.streams.len()];
        multiplexed::stream(list, node, opening, idle, fresh).await
    }

    fn close_old(&self, now: Instant) {
        for list in &self.streams {
            let old = list.lock().remove_old(now);
            drop(old);
        }
        for list in &self.lists {
            let old = list.lock().remove_old(now);
            // closed when nobody waits for the list
            drop(old);
        }
    }
}

impl Kept {
    fn take(&mut self, node: &Endpoint) -> Option<Idle> {
        let idle = self.by_node.get_mut(node)?.pop()?;
        self.count -= 1;
        Some(idle)
    }

    fn remove_old(&mut self, now: Instant) -> Vec<Idle> {
        let mut old = Vec::new();
        self.by_node.retain(|_, kept| {
            old.extend(kept.extract_if(.., |idle| idle.until <= now || !idle.stream.is_silent()));
            !kept.is_empty()
        });
        self.count -= old.len();
        old
    }
}

/// The background service that closes what was kept for too long.
pub struct IdleReaper(pub Arc<Connections>);

#[async_trait]
impl BackgroundService for IdleReaper {
    async fn start(&self, _shutdown: ShutdownWatch) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.0.close_old(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use crate::tls::nodes::open;

    const OPENING: Opening = Opening { limit: Duration::from_secs(9), patience: Duration::from_secs(60) };
    const IDLE: Duration = Duration::from_secs(60);

    struct Node {
        listener: TcpListener,
        address: Endpoint,
    }

    impl Node {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = Endpoint::Tcp(listener.local_addr().expect("an address"));
            Self { listener, address }
        }

        /// Both ends of a new connection.
        async fn connection(&self) -> (NodeStream, TcpStream) {
            let (near, far) = tokio::join!(open(&self.address, OPENING), self.listener.accept());
            (near.expect("a connection"), far.expect("a connection").0)
        }
    }

    fn tcp(stream: &NodeStream) -> &TcpStream {
        let NodeStream::Tcp(stream) = stream else { panic!("{stream:?}") };
        stream
    }

    fn port(stream: &NodeStream) -> u16 {
        tcp(stream).local_addr().expect("an address").port()
    }

    #[tokio::test]
    async fn the_one_that_was_used_last_is_used_again() {
        let (upstream, node) = (Connections::new(1), Node::new().await);
        let ((first, _far), (second, _away)) = (node.connection().await, node.connection().await);
        let ports = [&first, &second].map(port);
        upstream.keep(node.address.clone(), first, IDLE);
        upstream.keep(node.address.clone(), second, IDLE);
        for port in ports.into_iter().rev() {
            let again = upstream.reuse(&node.address).expect("it was kept");
            assert_eq!(self::port(&again), port);
        }
        assert!(upstream.reuse(&node.address).is_none());
    }

    #[tokio::test]
    async fn what_the_node_has_closed_or_spoken_on_is_not() {
        let (upstream, node) = (Connections::new(1), Node::new().await);
        for speaks in [false, true] {
            let (near, mut far) = node.connection().await;
            if speaks {
                far.write_all(b"x").await.expect("a connection");
            } else {
                drop(far);
            }
            tcp(&near).readable().await.expect("a connection");
            upstream.keep(node.address.clone(), near, IDLE);
            assert!(upstream.reuse(&node.address).is_none(), "spoke: {speaks}");
        }
    }

    #[tokio::test]
    async fn what_is_old_or_closed_does_not_stay() {
        let (upstream, node) = (Connections::new(1), Node::new().await);
        let (old, mut old_far) = node.connection().await;
        upstream.keep(node.address.clone(), old, IDLE / 2);
        let (closed, closed_far) = node.connection().await;
        drop(closed_far);
        tcp(&closed).readable().await.expect("a connection");
        upstream.keep(node.address.clone(), closed, IDLE);
        let (good, _far) = node.connection().await;
        upstream.keep(node.address.clone(), good, IDLE);
        upstream.close_old(Instant::now() + IDLE / 2);
        assert_eq!(upstream.lists[0].lock().count, 1);
        // the node sees it, and no sooner than it should
        assert_eq!(tokio::io::copy(&mut old_far, &mut tokio::io::sink()).await.expect("a connection"), 0);
        assert!(upstream.reuse(&node.address).is_some());
        upstream.close_old(Instant::now());
        assert!(upstream.lists[0].lock().by_node.is_empty());
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_kept() {
        let (upstream, node) = (Connections::new(KEPT_MAX), Node::new().await);
        let ((first, _far), (second, mut away)) = (node.connection().await, node.connection().await);
        upstream.keep(node.address.clone(), first, IDLE);
        upstream.keep(node.address.clone(), second, IDLE);
        assert_eq!(tokio::io::copy(&mut away, &mut tokio::io::sink()).await.expect("a connection"), 0);
        assert!(upstream.reuse(&node.address).is_some() && upstream.reuse(&node.address).is_none());
    }

    #[tokio::test]
    async fn no_time_is_not_kept() {
        let (upstream, node) = (Connections::new(1), Node::new().await);
        let (near, _far) = node.connection().await;
        upstream.keep(node.address.clone(), near, Duration::ZERO);
        assert!(upstream.reuse(&node.address).is_none());
    }
}
