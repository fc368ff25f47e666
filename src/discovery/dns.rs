//! The sources of nodes that are names in DNS: each is asked again when the time to live of its answer is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::resolver::Resolver;
use crate::config::{DnsSource, Origin, Source};
use crate::journal::{announce_not_found, use_found};
use crate::live::Live;
use crate::sources::{Names, Reply, Verdict};

const TICK: Duration = Duration::from_millis(100);

/// The background service that asks.
pub struct DnsSources {
    live: Arc<Live>,
}

/// A source, by the pool's name.
type Id = (Arc<str>, Origin);

/// The state of one.
struct Known {
    source: DnsSource,
    names: Names,
    /// The pool has been told of nodes.
    has_told: bool,
    next: Instant,
}

/// A question that has been asked is asked again after so long, should it never be answered.
const LOST: Duration = Duration::from_mins(1);

impl DnsSources {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    /// Takes over the sources of the config as it is now: those that stay keep their time.
    fn settle(&self, known: &mut HashMap<Id, Known>, now: Instant) {
        let fleet = self.live.fleet();
        let mut before = std::mem::take(known);
        for member in &fleet.pools {
            for source in &member.conf.sources {
                let (Source::Dns(dns), origin) = (source, source.origin()) else { continue };
                let id = (Arc::clone(member.pool.name()), origin);
                // a pool that was removed and is back has forgotten what it was told
                let has_forgotten = |known: &Known| known.has_told && !member.pool.has_heard(&id.1);
                let kept = before.remove(&id).filter(|known| !has_forgotten(known));
                let new =
                    || Known { source: dns.clone(), names: Names::default(), has_told: false, next: now };
                let now_known = kept.map(|known| Known { source: dns.clone(), ..known });
                known.insert(id, now_known.unwrap_or_else(new));
            }
        }
    }

    fn hear(&self, known: &mut HashMap<Id, Known>, id: &Id, reply: Reply, now: Instant) {
        let Some(Known { source, names, has_told, next }) = known.get_mut(id) else { return };
        let (verdict, again) = names.hear(reply, source, now);
        *next = now + again;
        let Some(pool) = self.live.pool(&id.0) else { return };
        match verdict {
            Verdict::Found(nodes) => *has_told |= use_found(&pool, &id.1, nodes, now).is_some(),
            Verdict::Kept(trouble) => announce_not_found(&pool, &id.1, trouble, now),
        }
    }
}

#[async_trait]
impl BackgroundService for DnsSources {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut known = HashMap::new();
        let mut under_way = JoinSet::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let now = Instant::now();
                    self.settle(&mut known, now);
                    let servers = &self.live.fleet().config.server.resolvers;
                    for (id, known) in &mut known {
                        if now < known.next {
                            continue;
                        }
                        known.next = now + LOST;
                        // made anew: the files of the system may have changed
                        let (resolver, id) = (Resolver::new(servers), id.clone());
                        let ask = known.source.ask.clone();
                        under_way.spawn(async move {
                            let reply = match resolver {
                                Ok(resolver) => resolver.ask(&ask).await,
                                Err(why) => Reply::Failed(why),
                            };
                            (id, reply)
                        });
                    }
                }
                Some(Ok((id, reply))) = under_way.join_next(), if !under_way.is_empty() => {
                    self.hear(&mut known, &id, reply, Instant::now());
                }
            }
        }
    }
}
