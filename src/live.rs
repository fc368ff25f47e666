//! Shared state of the running gateway: the current generation of the fleet, and gauges.

mod arriving;
mod gauge;
mod requests;
mod under_way;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use self::arriving::{Arrivals, Arriving, Growth, Room};
pub use self::gauge::{Gauge, Share};
pub use self::requests::{Registered, Requests};
pub use self::under_way::{Cancelled, Goes, NotCancelled, UnderWay};
use crate::causes::{Past, Scene, causes};
use crate::config::{ApiKey, Config};
use crate::fleet::{Counters, Ended, Event, Fleet, Next};
use crate::history::History;
use crate::keys::Keyring;
use crate::material::Material;
use crate::resume::Vocabularies;
use crate::status::{ClusterState, Edge, Files, Reload, Snapshot, Standing};
use crate::tls::{Certificate, Challenges, Renewal};

/// The counters are kept so often, and so many times: what is told as recent is of the last 15 to 20 s.
const PAST_EVERY: Duration = Duration::from_secs(5);
const PASTS: usize = 4;
/// The most keys that views name; the others are summed up.
const KEYS_SHOWN: usize = 1000;

/// One per process; every adapter holds an `Arc` of it.
#[derive(Debug)]
pub struct Live {
    fleet: ArcSwap<Fleet>,
    /// Curves and marks of the last 24 hours.
    pub history: Mutex<History>,
    /// The result of the last reload.
    pub reload: Mutex<Reload>,
    /// The keys that clients must have, where the config says that they must have one.
    keys: ArcSwap<Keyring>,
    /// The result of the last reading of their file; `None`: there is none.
    pub keys_file: Mutex<Option<Reload>>,
    /// The cluster that this gateway belongs to, as it was seen last; `None`: it belongs to none.
    pub cluster: Mutex<Option<ClusterState>>,
    /// Requests accepted but not yet logged.
    pub requests: Arc<Requests>,
    /// Open client connections.
    pub connections: Gauge,
    /// Bytes of request bodies kept for another attempt.
    pub kept_bytes: Gauge,
    /// Those of them that have not come to their end.
    pub arriving: Arrivals,
    /// Connections closed at once because `client.max_connections` was reached.
    pub refused_connections: AtomicU64,
    /// Access-log lines dropped because the disk was slower than the traffic.
    pub lost_log_lines: AtomicU64,
    /// Lines of the gateway's own log that were dropped because nobody read standard error. Not set: they are written at once.
    pub lost_own_log_lines: OnceLock<Arc<AtomicU64>>,
    /// Spans that the collector has not got: it was away, or slower than the traffic.
    pub lost_spans: AtomicU64,
    /// Requests refused before they had a pool, by status code.
    pub unrouted: Mutex<Counters>,
    /// The content of the files that the config names.
    pub material: ArcSwap<Material>,
    /// The result of the last look into changed files.
    pub files: Mutex<Files>,
    /// Answers for an ACME server that looks whether a name leads here.
    pub challenges: Challenges,
    /// The progress of certificates that the gateway gets by itself, by the file of each.
    pub renewals: Mutex<HashMap<PathBuf, Renewal>>,
    /// Handshakes with clients that came to nothing.
    pub failed_handshakes: AtomicU64,
    /// Learned from streams that may have to be continued.
    pub vocabularies: Vocabularies,
    /// Earlier counters, the oldest first.
    pasts: Mutex<VecDeque<Past>>,
    stopping: AtomicBool,
    linger_ms: AtomicU64,
    pub started: Instant,
    pub started_at: SystemTime,
}

impl Live {
    pub fn new(config: Config) -> Self {
        let now = SystemTime::now();
        let started = Instant::now();
        let in_cluster = config.cluster.is_some();
        let live = Self {
            fleet: ArcSwap::from_pointee(Fleet::first_in(
                config.cluster.as_ref().map(|_| Arc::default()),
                config,
                started,
            )),
            history: Mutex::new(History::new(started)),
            reload: Mutex::new(Reload { at: now, error: None, failures: 0 }),
            keys: ArcSwap::default(),
            keys_file: Mutex::default(),
            cluster: Mutex::default(),
            requests: Arc::default(),
            connections: Gauge::default(),
            kept_bytes: Gauge::default(),
            arriving: Arrivals::default(),
            refused_connections: AtomicU64::new(0),
            lost_log_lines: AtomicU64::new(0),
            lost_own_log_lines: OnceLock::new(),
            lost_spans: AtomicU64::new(0),
            unrouted: Mutex::default(),
            material: ArcSwap::default(),
            files: Mutex::default(),
            challenges: Challenges::default(),
            renewals: Mutex::default(),
            failed_handshakes: AtomicU64::new(0),
            vocabularies: Vocabularies::default(),
            pasts: Mutex::default(),
            stopping: AtomicBool::new(false),
            linger_ms: AtomicU64::new(0),
            started,
            started_at: now,
        };
        live.share_keys(in_cluster, started);
        live
    }

    /// The current generation. A request keeps the one it started with.
    pub fn fleet(&self) -> Arc<Fleet> {
        self.fleet.load_full()
    }

    /// The keys of clients, as their file was when it was last read.
    pub fn keys(&self) -> arc_swap::Guard<Arc<Keyring>> {
        self.keys.load()
    }

    /// Takes over the keys of the file. `false`: they are the same as before.
    pub fn set_keys(&self, keys: Vec<ApiKey>, now: Instant) -> bool {
        let old = self.keys.load_full();
        let is_new = !old.is_of(&keys);
        if is_new {
            self.keys.store(Arc::new(old.next(keys, now)));
        }
        is_new
    }

    /// Other gateways share the limits of keys from now on, or no more.
    pub fn share_keys(&self, in_cluster: bool, now: Instant) {
        self.keys.store(Arc::new(self.keys.load().joined(in_cluster, now)));
    }

    /// All values that the views show, taken at one instant.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        // read both under one lock, so that no snapshot shows a new generation with the previous one's error
        let (reload, fleet) = {
            let reload = self.reload.lock();
            (reload.clone(), self.fleet())
        };
        Snapshot {
            at: now,
            wall: SystemTime::now(),
            uptime: now.saturating_duration_since(self.started),
            generation: fleet.generation,
            reload,
            requests: self.requests.count(),
            connections: self.connections.value(),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
            kept_bytes: self.kept_bytes.value(),
            lost_log_lines: self.lost_log_lines.load(Ordering::Relaxed),
            lost_own_log_lines: self.lost_own_log_lines.get().map_or(0, |lost| lost.load(Ordering::Relaxed)),
            lost_spans: self.lost_spans.load(Ordering::Relaxed),
            tls: Edge {
                certificates: self.certificates(),
                files: self.files.lock().clone(),
                failed_handshakes: self.failed_handshakes.load(Ordering::Relaxed),
            },
            stopping: self.is_stopping(),
            unrouted: self.unrouted.lock().clone(),
            keys_file: self.keys_file.lock().clone(),
            keys: self.keys.load().usage(KEYS_SHOWN),
            cluster: self.cluster.lock().clone(),
            pools: fleet.live().map(|pool| pool.snapshot(now)).collect(),
            causes: Vec::new(),
        }
    }

    /// The reason in words for which this gateway has no credits for nodes and keys: it has not reached its cluster since it started, or
    /// since it was given one.
    pub fn has_no_credits(&self) -> Option<String> {
        self.fleet.load().bell()?;
        match self.cluster.lock().as_ref().map(|cluster| &cluster.standing) {
            None => Some("cluster: Redis has not been reached yet\n".into()),
            Some(Standing::NeverReached { why, .. }) => {
                Some(format!("cluster: Redis has not been reached yet: {why}\n"))
            }
            Some(Standing::Joined { .. } | Standing::Alone { .. }) => None,
        }
    }

    /// All certificates, with the progress of those that the gateway gets by itself.
    fn certificates(&self) -> Vec<Certificate> {
        // a new one comes into use under this lock, so that no snapshot shows it with the progress of the old one
        let renewals = self.renewals.lock();
        let mut certificates = self.material.load().tls.certificates();
        for one in &mut certificates {
            if let (Some(shown), Some(known)) = (&mut one.renewal, renewals.get(&one.file)) {
                *shown = Renewal { is_pending: shown.is_pending, ..known.clone() };
            }
        }
        certificates
    }

    /// The same with the causes of what it shows.
    pub fn explained(&self, now: Instant) -> Snapshot {
        let mut snapshot = self.snapshot(now);
        let open = self.requests.list(now);
        snapshot.causes = causes(&Scene::of(&snapshot, self.pasts.lock().front(), &open));
        snapshot
    }

    /// The numbers of requests that have ended, by pool, which `/metrics` alone shows.
    pub fn ended(&self) -> Vec<Ended> {
        let fleet = self.fleet();
        fleet.live().map(|pool| pool.ended(fleet.config.server.metrics.genai)).collect()
    }

    /// Keeps the counters of now, if it is time to: causes are read from their rise.
    pub fn remember(&self, now: Instant) {
        let is_due = self.pasts.lock().back().is_none_or(|past| now >= past.at + PAST_EVERY);
        if is_due {
            let past = Past::of(&self.snapshot(now));
            let mut pasts = self.pasts.lock();
            if pasts.len() >= PASTS {
                pasts.pop_front();
            }
            pasts.push_back(past);
        }
    }

    /// Puts the next generation in use, and only then retires the pools that it removed: a request that finds
    /// its pool retired must find a newer generation here.
    pub fn replace(&self, next: Next, now: Instant) -> Vec<Event> {
        let Next { fleet, mut events, removed } = next;
        self.fleet.store(Arc::new(fleet));
        events.extend(removed.iter().flat_map(|pool| pool.retire(now)));
        events
    }

    /// Begins to stop: from now on responses close their connection. Connections without a request stay open
    /// for `linger` after the listeners have been closed.
    pub fn stop(&self, linger: Duration) {
        self.linger_ms.store(u64::try_from(linger.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        self.stopping.store(true, Ordering::Release);
    }

    /// The time that connections without a request stay open after the listeners have been closed.
    pub fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms.load(Ordering::Acquire))
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::OnceLock;
    use std::task::{Context, Poll, Wake};

    use super::*;
    use crate::fleet::{Admission, Ask, Or, Pool, Profile, Refusal, Want};

    fn config(second_pool: &str) -> Config {
        let first = "server: { listen: 127.0.0.1:1 }\npools:\n  x: { nodes: [127.0.0.1:2] }\n";
        Config::parse(&format!("{first}{second_pool}"), "a test").expect("a valid config")
    }

    /// A request that is woken by the retirement of its pool, and looks for a node before `retire` has
    /// returned.
    struct Waiter {
        live: Arc<Live>,
        pool: Arc<Pool>,
        seen: OnceLock<(Refusal, u64)>,
    }

    impl Wake for Waiter {
        fn wake(self: Arc<Self>) {
            let refusal = self.pool.lease(&[], Instant::now()).expect_err("a pool that is retired");
            self.seen.set((refusal, self.live.fleet().generation)).expect("woken once");
        }
    }

    #[test]
    fn a_request_that_finds_its_pool_retired_finds_a_newer_generation() {
        let live = Arc::new(Live::new(config("  y: { nodes: [127.0.0.1:3], models: [m] }\n")));
        let old = live.fleet();
        let pool = Arc::clone(&old.pools[1].pool);
        let waiter =
            Arc::new(Waiter { live: Arc::clone(&live), pool: Arc::clone(&pool), seen: OnceLock::new() });
        let mut waiting = None;
        let nothing = pool.wait(
            &mut waiting,
            Ask {
                want: Want::Any { avoid: Vec::new(), or: Or::Nothing },
                admission: Admission::Repeated,
                profile: Profile::default(),
                news: 0,
            },
            Instant::now(),
        );
        assert!(matches!(nothing, Some(Err(_))), "it wants what there is not");
        let mut changed = pin!(waiting.as_ref().expect("it waits").changed());
        let waker = Arc::clone(&waiter).into();
        assert_eq!(changed.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        live.replace(old.next(config(""), Instant::now()), Instant::now());
        assert_eq!(waiter.seen.get(), Some(&(Refusal::Retired, 2)));
    }
}
