//! The handle of a simulated node, by which tests, benchmarks and the demo start, observe, break and repair it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::engine::End;
use super::fault::{Fault, Health};
use super::listen;
use super::options::Options;
use super::port;
use super::record::RecordedRequest;
use super::shared::{Shared, State};
use super::stats::Stats;
use super::wire::Phase;

/// The polling interval of `until`.
const LOOK: Duration = Duration::from_millis(1);

/// A handle; clones are the same node. It runs until it is stopped or its tokio runtime ends.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

impl Node {
    /// Binds and serves on the current tokio runtime; connections are accepted once this returns.
    pub fn start(options: Options) -> io::Result<Node> {
        let listener = port::listen(port::reserve(options.listen)?)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options, addr, |shared, listener, phase| {
            tokio::spawn(listen::accept(shared, listener, phase));
        }));
        let wish = shared.wish();
        shared.live(wish, listener, State::Serving);
        Ok(Node { shared })
    }

    /// The listening address; the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    pub fn name(&self) -> &str {
        &self.shared.options.name
    }

    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The last 1000 requests, if `Options::record` is set, in the order in which their bodies ended.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.record.list()
    }

    pub fn clear_requests(&self) {
        self.shared.record.clear();
    }

    /// Replaces all faults with this one.
    pub fn set_fault(&self, fault: impl Into<Fault>) {
        self.shared.faults.set([fault.into()]);
    }

    /// Appends a fault; the first fault that strikes wins.
    pub fn add_fault(&self, fault: impl Into<Fault>) {
        self.shared.faults.add(fault.into());
    }

    pub fn clear_faults(&self) {
        self.shared.faults.set([]);
    }

    /// Sets the answer of `/health`. Requests are still served.
    pub fn set_health(&self, health: Health) {
        *self.shared.health.lock() = health;
    }

    /// Sets the speed from the next step on: 1.0 is normal, 0.33 three times slower.
    pub fn set_speed(&self, speed: f64) {
        self.shared.engine.set_speed(speed);
    }

    /// Closes the listener and returns when all requests have ended.
    pub async fn stop(&self) {
        self.shared.wish();
        self.shared.end_life(Phase::Draining).await;
    }

    /// Ends like vLLM on SIGTERM: running sequences end with `finish_reason: "abort"`.
    pub async fn terminate(&self) {
        self.shared.wish();
        self.shared.engine.end_all(End::Aborted);
        self.shared.end_life(Phase::Draining).await;
    }

    /// Ends like vLLM on SIGTERM with `--shutdown-timeout`: 500 to all that is new while `/health` is 200 and what runs
    /// goes on, for so long at the most; then what is left is aborted. Returns when that is done.
    pub async fn drain(&self, limit: Duration) {
        self.shared.drain(limit).await;
    }

    /// Ends like kill -9: closes the listener, resets all connections, loses all sequences. Returns
    /// when that is done.
    pub async fn crash(&self) {
        self.shared.wish();
        self.shared.end_life(Phase::Crashed).await;
    }

    /// Crashes (if it is up) and listens on the same address again after `after`. Returns at once;
    /// `ready` waits for the end.
    pub fn restart(&self, after: Duration) {
        self.shared.restart(after);
    }

    /// Resolves when the node serves.
    pub async fn ready(&self) {
        // This cannot fail: the sender lives as long as this handle.
        let _ = self.shared.state.subscribe().wait_for(|state| *state == State::Serving).await;
    }

    pub fn state(&self) -> State {
        *self.shared.state.borrow()
    }

    /// Waits until the statistics satisfy a condition. After `limit` it fails with the latest statistics.
    pub async fn until(&self, limit: Duration, condition: impl Fn(&Stats) -> bool) -> Result<Stats, Stats> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let stats = self.stats();
            if condition(&stats) {
                return Ok(stats);
            }
            if tokio::time::Instant::now() >= end {
                return Err(stats);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
