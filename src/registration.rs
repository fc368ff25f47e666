//! Nodes that have registered themselves: their leases end in time, follow the config, and are kept in a file over a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Origin, Pool};
use crate::journal::announce_found;
use crate::live::{Followed, Live};
use crate::material::leases as state;
use crate::sources::kept::{self, Kept};

/// Interval at which leases are looked at: it limits the precision of their ends, and a registration waits as long for its answer.
const TICK: Duration = Duration::from_millis(100);
/// The ends of leases that are only renewed are written this often.
const WRITE_EVERY: Duration = Duration::from_mins(1);

/// The background service that ends leases and keeps them.
pub struct Registration {
    live: Arc<Live>,
    known: Mutex<Known>,
}

/// What has been seen and written.
#[derive(Default)]
struct Known {
    generation: u64,
    /// The file, the book's revision in it, and the time.
    written: Option<(PathBuf, u64, Instant)>,
    /// It could not be written, which has been told.
    fails: bool,
    /// It has been written for the last time.
    is_over: bool,
}

impl Registration {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, known: Mutex::default() }
    }

    /// Takes over the leases that an earlier process has left. They get traffic when they have passed a check.
    pub fn restore(&self) {
        let fleet = self.live.fleet();
        let Some(file) = state::file(&fleet.config) else { return };
        let (list, wrong) = match state::read(&file) {
            Ok(None) => return,
            Ok(Some(text)) => kept::of_text(&text).unwrap_or_else(|why| {
                broken(&file, &why);
                Default::default()
            }),
            Err(error) => return broken(&file, &error.to_string()),
        };
        for why in &wrong {
            log::warn!("{}: {why}: that node has to register again", file.display());
        }
        let (now, wall) = (Instant::now(), seconds(SystemTime::now()));
        let go_on = list.iter().filter(|kept| self.restore_one(kept, &fleet.config.pools, now, wall)).count();
        log::info!("{}: {go_on} of {} leases go on", file.display(), list.len());
        self.live.leases.recheck(|| self.live.fleet(), now).1.iter().for_each(tell);
    }

    /// `false`: it does not go on, for the reason that the log has.
    fn restore_one(&self, kept: &Kept, pools: &[Pool], now: Instant, wall: u64) -> bool {
        let Kept { pool, node, .. } = kept;
        let conf = pools.iter().find(|conf| conf.name == *pool);
        let restored = match conf {
            _ if kept.is_stale(wall) => Err("it ended long ago".to_owned()),
            None => Err("the pool is gone".to_owned()),
            Some(conf) => {
                let restored = self.live.leases.with(|leases| leases.restore(conf, node.clone(), now));
                restored.map_err(|why| why.to_string())
            }
        };
        let node = &node.name;
        if let Err(why) = &restored {
            log::info!(pool = &**pool, node = &**node; "pool {pool}, node {node}: its lease does not go on: {why}");
        }
        restored.is_ok()
    }

    fn tick(&self, now: Instant) {
        let mut known = self.known.lock();
        let fleet = self.live.fleet();
        if self.live.is_stopping() {
            // another process may have taken over: nodes tell that one that they are there, and the file is its own from now on
            if let Some(file) =
                state::file(&fleet.config).filter(|_| !std::mem::replace(&mut known.is_over, true))
            {
                self.keep(&mut known, file, now);
            }
            return;
        }
        if std::mem::replace(&mut known.generation, fleet.generation) != fleet.generation {
            let (ended, followed) = self.live.leases.recheck(|| self.live.fleet(), now);
            for (pool, lease, why) in ended {
                let node = &lease.node.name;
                log::info!(pool = &*pool, node = &**node; "pool {pool}, node {node}: its lease ends with the config: {why}");
            }
            followed.iter().for_each(tell);
        }
        let (ended, followed) = self.live.leases.expire(|| self.live.fleet(), now);
        for (pool, lease) in ended {
            let (node, ttl) = (&lease.node.name, lease.node.ttl);
            log::warn!(pool = &*pool, node = &**node; "pool {pool}, node {node}: its lease has ended: it was not renewed within {ttl:?}");
        }
        followed.iter().for_each(tell);
        if let Some(file) = state::file(&fleet.config) {
            self.keep(&mut known, file, now);
        }
    }

    fn keep(&self, known: &mut Known, file: PathBuf, now: Instant) {
        let due = self.live.leases.with(|leases| {
            let revision = leases.revision();
            let is_empty = leases.all().next().is_none();
            let is_fresh = match &known.written {
                Some((kept, of, at)) => {
                    let is_recent = is_empty || now.saturating_duration_since(*at) < WRITE_EVERY;
                    *kept == file && *of == revision && is_recent
                }
                None => is_empty && revision == 0,
            };
            (!is_fresh).then(|| (kept::to_text(leases, now, seconds(SystemTime::now())), revision))
        });
        let Some((text, revision)) = due else { return };
        let written = state::write(&file, &text);
        if let Err(error) = &written {
            let level = if known.fails { log::Level::Debug } else { log::Level::Error };
            log::log!(level, "{}: leases cannot be kept over a restart: {error}", file.display());
        } else if known.fails {
            log::info!("{}: leases are kept again", file.display());
        }
        known.fails = written.is_err();
        // one that failed is tried again with the next change, or in a minute
        known.written = Some((file, revision, now));
        self.live.leases.set_kept(revision);
    }
}

fn broken(file: &Path, why: &str) {
    let aside = match state::put_aside(file) {
        Ok(aside) => format!("it is {} now", aside.display()),
        Err(error) => format!("it cannot be put aside: {error}"),
    };
    log::error!("{}: cannot be read: {why}; {aside}, and nodes have to register again", file.display());
}

fn tell(followed: &Followed) {
    let Followed { pool, nodes, applied } = followed;
    if *nodes > 0 || !applied.events.is_empty() {
        announce_found(pool, &Origin::Registered, *nodes, applied);
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[async_trait]
impl BackgroundService for Registration {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick(Instant::now());
        }
    }
}
