//! The state shared by all tasks of a simulated node: its lives, faults, counters and options.

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

/// Pause between attempts to bind the node's port again.
const REBIND_PAUSE: Duration = Duration::from_millis(100);
/// Pause between looks at a node that drains.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// The state of a node as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connections are refused.
    Down,
    /// The node answers 503.
    Loading,
    /// The node answers 500 to all that is new, while what runs goes on and `/health` is 200.
    Draining,
    Serving,
}

/// Starts the task that accepts connections until the phase changes. It is passed in as a function because the task
/// depends on this file, which in turn starts it again after a crash.
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
    /// The phase of this life's listener and connections; each restart creates a new one.
    life: Mutex<Arc<watch::Sender<Phase>>>,
    /// Counts commands (stop, crash, restart), so that a newer one cancels a pending restart.
    wishes: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: Options, addr: SocketAddr, accept: Accept) -> Self {
        let engine = Engine::start(options.step, options.speed, options.limits);
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
        let load = self.engine.load();
        Stats {
            running: load.running as u64,
            waiting: load.waiting as u64,
            most: self.engine.most(),
            preemptions: load.preemptions,
            struck: self.faults.struck(),
            tokens: self.engine.tokens(),
            ..self.counters.snapshot()
        }
    }

    /// Starts a life on this listener, unless a newer command came after `wish`.
    pub(super) fn live(self: &Arc<Self>, wish: u64, listener: TcpListener, state: State) {
        let mut life = self.life.lock();
        if self.wishes.load(Ordering::Acquire) != wish {
            return;
        }
        let phase = watch::Sender::new(Phase::Serving);
        // The state changes before the first accept, so that no connection sees the old one.
        self.state.send_replace(state);
        (self.accept)(Arc::clone(self), listener, phase.subscribe());
        *life = Arc::new(phase);
    }

    /// Marks the node as down and cancels a pending restart.
    pub(super) fn wish(&self) -> u64 {
        // The lock orders this and `live`: a concurrent new life is either ended by the `end_life` that
        // follows, or does not start.
        let _life = self.life.lock();
        self.state.send_replace(State::Down);
        self.wishes.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends the current life; returns when the listener and all connections are closed.
    pub(super) async fn end_life(&self, how: Phase) {
        let life = Arc::clone(&self.life.lock());
        life.send_replace(how);
        life.closed().await;
        if how == Phase::Crashed {
            self.engine.end_all(End::Lost);
        }
    }

    /// Ends like vLLM on SIGTERM: 500 to all that is new while what runs goes on, for so long at the most; then what is
    /// left is aborted.
    pub(super) async fn drain(&self, limit: Duration) {
        let start = Instant::now();
        self.state.send_if_modified(|state| {
            let serves = *state == State::Serving;
            if serves {
                *state = State::Draining;
            }
            serves
        });
        while *self.state.borrow() == State::Draining && !self.engine.is_idle() && start.elapsed() < limit {
            sleep(DRAIN_LOOK).await;
        }
        if *self.state.borrow() == State::Draining {
            self.wish();
            self.engine.end_all(End::Aborted);
            self.end_life(Phase::Draining).await;
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

    /// Carries out a crash fault: a `restart`, except that a node already down stays down.
    pub(super) fn crash_by_fault(self: &Arc<Self>) {
        if *self.state.borrow() == State::Serving {
            log::info!("node {}: crashed, back in {:?}", self.options.name, self.options.startup);
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

    /// Binds the port again, unless a newer command comes.
    async fn reserve(&self, wish: u64) -> Option<TcpSocket> {
        while self.wishes.load(Ordering::Acquire) == wish {
            match port::reserve(self.addr) {
                Ok(socket) => return Some(socket),
                Err(error) => {
                    log::warn!("node {}: cannot bind {} again yet: {error}", self.options.name, self.addr);
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
