//! Name resolution for nodes whose address is a host name.
//!
//! A node whose name does not resolve stays ejected, and the name is retried. A resolved name is looked up
//! again from time to time; an address in use is kept while it is among the answers, and the others are tried when it
//! accepts no connection.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use crate::config::HostPort;
use crate::fleet::{Key, NodeId, Pool};
use crate::journal::announce;
use crate::live::Live;

/// Pause before another lookup of a name that did not resolve.
const AGAIN_UNRESOLVED: Duration = Duration::from_secs(5);
/// Pause before another lookup of a name that resolved.
const AGAIN_RESOLVED: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(250);
/// The longest time that the system's resolver may take.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);

/// One host name, as a source of backends.
struct Name<'a>(&'a HostPort);

#[async_trait]
impl ServiceDiscovery for Name<'_> {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let lookup = tokio::net::lookup_host((self.0.host.as_str(), self.0.port));
        let timed_out = |_| Error::explain(ErrorType::ConnectTimedout, "the resolver did not answer in time");
        let found = tokio::time::timeout(LOOKUP_WITHIN, lookup).await.map_err(timed_out)?;
        let addresses = found.or_err(ErrorType::ConnectError, "the name does not resolve")?;
        let backends = addresses.map(|address| Backend::new(&address.to_string())).collect::<Result<_>>()?;
        Ok((backends, HashMap::new()))
    }
}

/// The background service that keeps the names of all pools resolved.
pub struct NameResolver {
    live: Arc<Live>,
    known: Mutex<HashMap<(Arc<str>, Key), Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    /// The last lookup found an address.
    found: bool,
    next: Instant,
}

impl NameResolver {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, known: Mutex::new(HashMap::new()) }
    }

    async fn round(&self) {
        let fleet = self.live.fleet();
        let mut present = Vec::new();
        for member in &fleet.pools {
            for (key, node) in member.pool.names() {
                present.push((Arc::clone(member.pool.name()), key));
                self.resolve(&member.pool, key, &node).await;
            }
        }
        self.known.lock().retain(|id, _| present.contains(id));
    }

    async fn resolve(&self, pool: &Pool, key: Key, node: &NodeId) {
        let id = (Arc::clone(pool.name()), key);
        let known = self.known.lock().get(&id).copied();
        if known.is_some_and(|known| Instant::now() < known.next) {
            return;
        }
        // a request may have found that another one accepts connections
        let before = pool.address(key);
        let Some(address) = node.address.host_port() else { return };
        let found = Name(address).discover().await;
        let address = match &found {
            Ok((backends, _)) => {
                node.addresses.set(addresses(backends));
                choose(backends, before)
            }
            Err(error) => {
                // warn once, not every few seconds for as long as it lasts
                let news = known.is_none_or(|known| known.found);
                let level = if news { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    pool:% = node.pool, node:% = node.name;
                    "pool {}, node {}: cannot resolve {}: {error}; next lookup in {AGAIN_UNRESOLVED:?}",
                    node.pool,
                    node.name,
                    address.host
                );
                None
            }
        };
        pool.resolved(key, address, Instant::now()).iter().for_each(announce);
        let pause = if address.is_some() { AGAIN_RESOLVED } else { AGAIN_UNRESOLVED };
        let known = Known { found: address.is_some(), next: Instant::now() + pause };
        self.known.lock().insert(id, known);
    }
}

/// The address in use if it is still among the answers, else the first.
fn choose(backends: &BTreeSet<Backend>, before: Option<SocketAddr>) -> Option<SocketAddr> {
    addresses(backends).find(|address| Some(*address) == before).or_else(|| addresses(backends).next())
}

fn addresses(backends: &BTreeSet<Backend>) -> impl Iterator<Item = SocketAddr> {
    backends.iter().filter_map(|backend| backend.addr.as_inet().copied())
}

#[async_trait]
impl BackgroundService for NameResolver {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.round().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(ports: &[u16]) -> BTreeSet<Backend> {
        ports.iter().map(|port| Backend::new(&format!("127.0.0.1:{port}")).expect("an address")).collect()
    }

    #[test]
    fn an_address_that_is_still_there_is_kept() {
        let port = |address: Option<SocketAddr>| address.map(|address| address.port());
        let before = "127.0.0.1:2".parse().ok();
        assert_eq!(port(choose(&backends(&[1, 2, 3]), before)), Some(2));
        assert_eq!(port(choose(&backends(&[1, 3]), before)), Some(1));
        assert_eq!(port(choose(&backends(&[]), before)), None);
    }

    #[tokio::test]
    async fn localhost_resolves_and_nonsense_does_not() {
        let named = |host: &str| HostPort { host: host.into(), port: 80 };
        let (found, _) = Name(&named("localhost")).discover().await.expect("localhost");
        assert!(!found.is_empty());
        assert!(Name(&named("nowhere.invalid")).discover().await.is_err());
    }
}
