//! Questions to DNS: the records of a name, with the time that they may be kept, which the system's own resolver does not tell.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Ask;
use crate::sources::{Reply, Target, Told};

/// The time after which a server of `server.resolvers` is asked once more, and then the next.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time that a whole question may take.
const WITHIN: Duration = Duration::from_secs(30);
/// The most records of a name that are looked at.
const RECORDS_MAX: usize = 4096;
/// The most addresses of a target of SRV records, in each family, that are.
const ADDRESSES_MAX: usize = 256;
/// The most targets that are looked up at one time.
const AT_ONCE: usize = 32;

/// Asks the servers that the config names, or those of the system.
#[derive(Clone)]
pub(super) struct Resolver {
    inner: TokioResolver,
    /// Domains that a name is looked for in, unless it ends with a dot.
    search: Vec<Name>,
    /// A name with so many dots is looked for as it is first.
    ndots: usize,
}

/// Records, with the least time to live among them.
struct Records<T> {
    list: Vec<T>,
    ttl: Duration,
}

/// What is wrong with a name, or with its servers.
type Why = Arc<str>;

impl Resolver {
    /// `servers`: empty for those of the system, as /etc/resolv.conf and /etc/hosts are now.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, Why> {
        let (config, mut options) = if servers.is_empty() {
            read_system_conf().map_err(|error| why(&error))?
        } else {
            let mut options = ResolverOpts::default();
            options.timeout = PATIENCE;
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), options)
        };
        // the time to live is kept by those who ask
        options.cache_size = 0;
        options.edns0 = true;
        options.use_hosts_file = if servers.is_empty() { ResolveHosts::Always } else { ResolveHosts::Never };
        let search = match config.search() {
            [] => config.domain().into_iter().cloned().collect(),
            search => search.to_vec(),
        };
        let ndots = options.ndots;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self { inner: builder.build().map_err(|error| why(&error))?, search, ndots })
    }

    /// Looks up all that a source asks for.
    pub(super) async fn ask(&self, ask: &Ask) -> Reply {
        let reply = match ask {
            Ask::Addresses { name, port } => timeout(WITHIN, self.addresses(name, *port)).await,
            Ask::Services { name } => timeout(WITHIN, self.services(name)).await,
        };
        reply.unwrap_or_else(|_| Reply::Failed(format!("no whole answer within {WITHIN:?}").into()))
    }

    async fn addresses(&self, name: &Arc<str>, port: u16) -> Reply {
        let target =
            Target { name: Arc::clone(name), port, priority: 0, weight: 0, told: [Told::None, Told::None] };
        let (target, ttl) = self.fill(target).await;
        Reply::Targets { targets: vec![target], ttl }
    }

    async fn services(&self, name: &Arc<str>) -> Reply {
        let found = self.search(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(srv.clone()),
            _ => None,
        });
        let records = match found.await {
            Ok(records) => records,
            Err(why) => return Reply::Failed(why),
        };
        // the root as the target: there is decidedly no such service (RFC 2782)
        let mut targets: Vec<_> =
            records.list.iter().filter(|srv| !srv.target.is_root()).map(of_service).collect();
        targets.reverse();
        let (mut filled, mut ttl, mut under_way) = (Vec::new(), records.ttl, JoinSet::new());
        while !(targets.is_empty() && under_way.is_empty()) {
            while under_way.len() < AT_ONCE
                && let Some(target) = targets.pop()
            {
                let asker = self.clone();
                under_way.spawn(async move {
                    let (mut target, ttl) = asker.fill(target).await;
                    target.limit(ADDRESSES_MAX);
                    (target, ttl)
                });
            }
            if let Some(Ok((target, least))) = under_way.join_next().await {
                ttl = ttl.min(least);
                filled.push(target);
            }
        }
        if filled.is_empty() { Reply::None } else { Reply::Targets { targets: filled, ttl } }
    }

    /// Looks up the addresses of a target, in both families.
    async fn fill(&self, mut target: Target) -> (Target, Duration) {
        let v4 = self.search(&target.name, RecordType::A, |data| match data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            _ => None,
        });
        let v6 = self.search(&target.name, RecordType::AAAA, |data| match data {
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        });
        let (v4, v6) = tokio::join!(v4, v6);
        let mut ttl = Duration::MAX;
        target.told = [v4, v6].map(|records| match records {
            Ok(records) => {
                ttl = ttl.min(records.ttl);
                if records.list.is_empty() { Told::None } else { Told::Addresses(records.list) }
            }
            Err(why) => Told::Failed(why),
        });
        (target, ttl)
    }

    /// The records of the first of the full names that has some. That one cannot be asked is no answer, whatever the others say.
    async fn search<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Records<T>, Why> {
        let mut failed = None;
        for name in self.full_names(name)? {
            match self.inner.lookup(name, kind).await {
                Ok(found) => {
                    let records: Vec<_> = found
                        .answers()
                        .iter()
                        .filter_map(|record| Some((read(&record.data)?, record.ttl)))
                        .take(RECORDS_MAX)
                        .collect();
                    if let Some(ttl) = found.answers().iter().map(|record| record.ttl).min()
                        && !records.is_empty()
                    {
                        let list = records.into_iter().map(|(value, _)| value).collect();
                        return Ok(Records { list, ttl: Duration::from_secs(ttl.into()) });
                    }
                }
                Err(error) if error.is_no_records_found() => {}
                Err(error) => {
                    failed.get_or_insert_with(|| why(&error));
                }
            }
        }
        match failed {
            Some(why) => Err(why),
            None => Ok(Records { list: Vec::new(), ttl: Duration::MAX }),
        }
    }

    /// The names that this one may stand for, in the order in which they are tried (resolv.conf: search, ndots).
    fn full_names(&self, name: &str) -> Result<Vec<Name>, Why> {
        let plain = Name::from_utf8(name).map_err(|error| Why::from(error.to_string()))?;
        if plain.is_fqdn() {
            return Ok(vec![plain]);
        }
        let within = |domain: &Name| plain.clone().append_domain(domain).ok();
        let mut names: Vec<_> = self.search.iter().filter_map(within).collect();
        let mut full = plain.clone();
        full.set_fqdn(true);
        let dots = name.matches('.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, full);
        Ok(names)
    }
}

fn of_service(srv: &SRV) -> Target {
    let (priority, weight) = (srv.priority, srv.weight);
    let name = srv.target.to_ascii().to_ascii_lowercase();
    Target { name: name.into(), port: srv.port, priority, weight, told: [Told::None, Told::None] }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// In words, for people.
fn why(error: &NetError) -> Why {
    match error {
        NetError::Timeout => "no server answers in time".into(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the server answers {code}").into(),
        NetError::Io(error) => format!("no server can be asked: {error}").into(),
        error => format!("no answer: {error}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_tried_in_the_order_of_resolv_conf() {
        let mut resolver = Resolver::new(&["127.0.0.1:1".parse().expect("an address")]).expect("a resolver");
        let names = |resolver: &Resolver, name: &str| {
            let names = resolver.full_names(name).expect("names");
            names.iter().map(Name::to_ascii).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&resolver, "a"), "a.");
        resolver.search = ["x.", "y.z."].map(|domain| domain.parse().expect("a name")).into();
        resolver.ndots = 2;
        assert_eq!(names(&resolver, "a.b"), "a.b.x. a.b.y.z. a.b.");
        assert_eq!(names(&resolver, "a.b.c"), "a.b.c. a.b.c.x. a.b.c.y.z.");
        assert_eq!(names(&resolver, "a."), "a.");
        assert_eq!(names(&resolver, "_http._tcp.n"), "_http._tcp.n. _http._tcp.n.x. _http._tcp.n.y.z.");
    }
}
