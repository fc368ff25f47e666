//! What the tasks of one node share: the node's state outside its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::engine::{End, Engine};
use super::fault::{FaultBoard, Health};
use super::options::{Loading, Options};
use super::port;
use super::record::Record;
use super::stats::{Counters, Stats};
use super::wire::Phase;

/// A port that was ours and cannot be had again is asked for this often.
const REBIND_PAUSE: Duration = Duration::from_millis(100);

/// Whether a node can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connections are refused.
    Down,
    /// It listens and answers 503.
    Loading,
    Serving,
}

/// Starts the task that accepts connections until the phase changes. It is passed in as a function because that task
/// lies above this file: a request that it serves may crash the node, and the restart begins the task again.
pub(super) type Accept = fn(Arc<Shared>, TcpListener, watch::Receiver<Phase>);

pub(super) struct Shared {
    pub options: Options,
    pub addr: SocketAddr,
    pub engine: Engine,
    pub faults: FaultBoard,
    pub health: Mutex<Health>,
    pub counters: Arc<Counters>,
    pub record: Arc<Record>,
    pub state: watch::Sender<State>,
    /// The value of the `x-sim-node` header.
    pub name_header: HeaderValue,
    accept: Accept,
    ids: AtomicU64,
    /// The phase of the listener and the connections of this life; each restart makes a new one.
    life: Mutex<Arc<watch::Sender<Phase>>>,
    /// Counts what was asked (stop, crash, restart), so that an older restart gives way.
    wishes: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: Options, addr: SocketAddr, accept: Accept) -> Self {
        let engine = Engine::start(options.step, options.speed, options.max_seqs, options.max_queued);
        let name_header = HeaderValue::from_str(&options.name).unwrap_or(HeaderValue::from_static("sim"));
        Shared {
            addr,
            engine,
            name_header,
            options,
            faults: FaultBoard::default(),
            health: Mutex::default(),
            counters: Arc::default(),
            record: Arc::default(),
            state: watch::Sender::new(State::Down),
            accept,
            ids: AtomicU64::new(0),
            life: Mutex::new(Arc::new(watch::Sender::new(Phase::Serving))),
            wishes: AtomicU64::new(0),
        }
    }

    /// The number of the next completion.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> Stats {
        let (running, waiting) = self.engine.load();
        Stats {
            running: running as u64,
            waiting: waiting as u64,
            struck: self.faults.struck(),
            tokens: self.engine.tokens(),
            ..self.counters.snapshot()
        }
    }

    /// Begins a life on this listener, unless something else was asked for since `wish`.
    pub(super) fn live(self: &Arc<Self>, wish: u64, listener: TcpListener, state: State) {
        let mut life = self.life.lock();
        if self.wishes.load(Ordering::Acquire) != wish {
            return;
        }
        let phase = watch::Sender::new(Phase::Serving);
        // Before the first connection is accepted, so that none sees the state of before.
        self.state.send_replace(state);
        (self.accept)(Arc::clone(self), listener, phase.subscribe());
        *life = Arc::new(phase);
    }

    /// From now on the node counts as down, and a restart that is under way gives way.
    pub(super) fn wish(&self) -> u64 {
        // The lock orders this and `live`: either the new life is seen by the `end_life` that
        // follows, or it does not begin.
        let _life = self.life.lock();
        self.state.send_replace(State::Down);
        self.wishes.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends the life under way; returns when the listener and all connections are closed.
    pub(super) async fn end_life(&self, how: Phase) {
        let life = Arc::clone(&self.life.lock());
        life.send_replace(how);
        life.closed().await;
        if how == Phase::Crashed {
            self.engine.end_all(End::Lost);
        }
    }

    /// Crashes at once and comes back after `after`, in a task of its own.
    pub(super) fn restart(self: &Arc<Self>, after: Duration) {
        let wish = self.wish();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            shared.end_life(Phase::Crashed).await;
            shared.come_back(wish, after).await;
        });
    }

    /// What a crash fault does: as `restart`, but a node that is down already stays as it is.
    pub(super) fn crash_by_fault(self: &Arc<Self>) {
        if *self.state.borrow() == State::Serving {
            log::info!("node {}: crashes, back in {:?}", self.options.name, self.options.startup);
            self.restart(self.options.startup);
        }
    }

    async fn come_back(self: &Arc<Self>, wish: u64, after: Duration) {
        let ready_at = Instant::now() + after;
        let Some(socket) = self.reserve(wish).await else { return };
        if self.options.loading == Loading::Answer503 {
            self.listen_again(wish, socket, State::Loading);
            sleep_until(ready_at).await;
            let _life = self.life.lock();
            if self.wishes.load(Ordering::Acquire) == wish {
                self.state.send_replace(State::Serving);
            }
        } else {
            sleep_until(ready_at).await;
            self.listen_again(wish, socket, State::Serving);
        }
    }

    /// Takes the port again, unless something else was asked for meanwhile.
    async fn reserve(&self, wish: u64) -> Option<TcpSocket> {
        while self.wishes.load(Ordering::Acquire) == wish {
            match port::reserve(self.addr) {
                Ok(socket) => return Some(socket),
                Err(error) => {
                    log::warn!("node {}: cannot have {} again yet: {error}", self.options.name, self.addr);
                    sleep(REBIND_PAUSE).await;
                }
            }
        }
        None
    }

    fn listen_again(self: &Arc<Self>, wish: u64, socket: TcpSocket, state: State) {
        match port::listen(socket) {
            Ok(listener) => self.live(wish, listener, state),
            Err(error) => log::error!("node {}: cannot listen on {}: {error}", self.options.name, self.addr),
        }
    }
}
