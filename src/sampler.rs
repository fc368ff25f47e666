//! The sampler: once a second it writes the load of the fleet, and what has happened, into the history.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::fleet::Event;
use crate::history::{Mark, PoolLoad};
use crate::live::Live;

const TICK: Duration = Duration::from_secs(1);

/// The background service that samples the fleet.
pub struct Sampler {
    live: Arc<Live>,
    /// The number of the last event of each pool that is in the history.
    noted: Mutex<HashMap<Arc<str>, u64>>,
}

impl Sampler {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, noted: Mutex::default() }
    }

    /// Reads each pool under its lock for as long as that takes, and nothing else: no text, no snapshot.
    fn tick(&self) {
        let now = Instant::now();
        self.live.remember(now);
        let fleet = self.live.fleet();
        let mut noted = self.noted.lock();
        let mut loads = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        for pool in fleet.live() {
            let after = noted.get(pool.name()).copied().unwrap_or_default();
            let load = pool.load(after);
            if let Some(event) = load.events.last() {
                noted.insert(Arc::clone(pool.name()), event.number);
            }
            events.extend(load.events);
            let waiting = u32::try_from(load.waiting).unwrap_or(u32::MAX);
            loads.push(PoolLoad { name: Arc::clone(pool.name()), waiting, nodes: load.nodes });
        }
        noted.retain(|name, _| loads.iter().any(|load| load.name == *name));
        events.sort_by_key(|event| event.at);
        let mut history = self.live.history.lock();
        history.sample(&loads, now);
        for event in &events {
            let at = history.since_start(event.at);
            history.mark(Mark::of(event, at));
        }
    }
}

#[async_trait]
impl BackgroundService for Sampler {
    /// Continues during a shutdown: it is then that one looks.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }
}
