//! Answers of DNS: which nodes they name, what is kept where there is none, and when to ask again.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Trouble;
use crate::config::{DnsSource, FoundNode, HostPort, NODES_MAX, NodeAddress, Weight};

/// The bounds of the time after which an answer is asked for again, whatever its time to live.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// The longest time until a question that has failed is asked again.
const AGAIN_FAILED: Duration = Duration::from_secs(30);
/// The same for one whose answer was that there are none.
const AGAIN_NONE: Duration = Duration::from_secs(5);
/// The most addresses of one source that are looked at: beyond those that a pool can have, some, so that they are said to be left out.
const FOUND_MAX: usize = 2 * NODES_MAX;

/// The addresses of one name in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// At least one.
    Addresses(Vec<IpAddr>),
    /// It has none, or it does not exist.
    None,
    /// There is no answer, for this reason.
    Failed(Arc<str>),
}

/// A host that has nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: Arc<str>,
    pub port: u16,
    /// Of its SRV record; 0 for a name that was asked for itself.
    pub priority: u16,
    /// Of its SRV record; 0 for a name that was asked for itself.
    pub weight: u16,
    /// IPv4 and IPv6.
    pub told: [Told; 2],
}

/// The answer to the question of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `ttl`: the least time to live of all its records.
    Targets { targets: Vec<Target>, ttl: Duration },
    /// There are no SRV records, or there is no such name.
    None,
    /// There is no answer, for this reason.
    Failed(Arc<str>),
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// These are all nodes now.
    Found(Vec<FoundNode>),
    /// The nodes stay that were there before.
    Kept(Trouble),
}

/// The memory of one source of names.
#[derive(Debug, Default)]
pub struct Names {
    /// Those that were told last.
    last: Vec<Target>,
    /// Since then the answer is that there are none.
    none_since: Option<Instant>,
    /// Answers in a row that were none.
    failures: u32,
}

impl Names {
    /// Takes an answer. Returns with it the time until the question is to be asked again.
    pub fn hear(&mut self, reply: Reply, source: &DnsSource, now: Instant) -> (Verdict, Duration) {
        match reply {
            Reply::Failed(why) => (Verdict::Kept(Trouble(why)), self.failed()),
            Reply::None => self.none(source, now),
            Reply::Targets { targets, ttl } => self.targets(targets, ttl, source, now),
        }
    }

    fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = AGAIN.0.saturating_mul(1 << (self.failures - 1).min(10));
        doubled.min(AGAIN_FAILED)
    }

    fn none(&mut self, source: &DnsSource, now: Instant) -> (Verdict, Duration) {
        let since = *self.none_since.get_or_insert(now);
        let again = self.failed().min(AGAIN_NONE);
        if self.last.is_empty() || now.saturating_duration_since(since) >= source.hold {
            self.last.clear();
            return (Verdict::Found(Vec::new()), again);
        }
        (Verdict::Kept(Trouble("the answer is that there are no nodes".into())), again)
    }

    fn targets(
        &mut self,
        mut targets: Vec<Target>,
        ttl: Duration,
        source: &DnsSource,
        now: Instant,
    ) -> (Verdict, Duration) {
        let failed = self.keep_what_failed(&mut targets);
        let before = nodes(&self.last, source.https);
        let found = nodes(&targets, source.https);
        match failed {
            Some(why) if found == before || found.is_empty() => (Verdict::Kept(Trouble(why)), self.failed()),
            None if found.is_empty() => self.none(source, now),
            failed => {
                let again = if failed.is_some() { self.failed() } else { ttl.clamp(AGAIN.0, AGAIN.1) };
                self.failures = if failed.is_some() { self.failures } else { 0 };
                self.none_since = None;
                self.last = targets;
                (Verdict::Found(found), again)
            }
        }
    }

    /// That one name, or one family of addresses, cannot be asked says nothing about its nodes: those told before are told still.
    /// Returns the reason of a failure. That of one family of two is none where the other has told addresses, and it had none: many
    /// servers answer for one alone.
    fn keep_what_failed(&self, targets: &mut [Target]) -> Option<Arc<str>> {
        let last: HashMap<_, _> =
            self.last.iter().map(|target| ((&*target.name, target.port), &target.told)).collect();
        let mut failed = None;
        for target in targets {
            let before = last.get(&(&*target.name, target.port));
            let has_any = target.has_any();
            for (family, told) in target.told.iter_mut().enumerate() {
                let Told::Failed(why) = told else { continue };
                let before =
                    before.map(|before| &before[family]).filter(|told| matches!(told, Told::Addresses(_)));
                if before.is_some() || !has_any {
                    failed.get_or_insert_with(|| Arc::clone(why));
                }
                *told = before.cloned().unwrap_or(Told::None);
            }
        }
        failed
    }
}

/// The nodes of these targets, in an order that does not depend on that of the answer.
fn nodes(targets: &[Target], https: bool) -> Vec<FoundNode> {
    let primary = targets.iter().filter(|target| target.has_any()).map(|target| target.priority).min();
    let means = mean_weights(targets);
    let mut nodes = BTreeMap::new();
    let mut sorted: Vec<_> = targets.iter().collect();
    // of two records with one address that of the lower number of priority holds
    sorted
        .sort_by_key(|target| (target.priority, std::cmp::Reverse(target.weight), &target.name, target.port));
    for target in sorted {
        let weight = means.get(&target.priority).map(|mean| Weight::Fixed(shown(target.weight) / mean));
        for ip in target.ips() {
            if nodes.len() == FOUND_MAX {
                break;
            }
            let address = HostPort { host: ip.to_string(), port: target.port };
            let address = if https { NodeAddress::Https(address) } else { NodeAddress::Http(address) };
            nodes.entry(SocketAddr::new(ip, target.port)).or_insert_with(|| FoundNode {
                host: https.then(|| Arc::clone(&target.name)),
                weight,
                backup: Some(target.priority) != primary,
                ..FoundNode::at(address)
            });
        }
    }
    nodes.into_values().collect()
}

/// The mean weight of each priority whose weights differ: they are relative to each other.
fn mean_weights(targets: &[Target]) -> HashMap<u16, f64> {
    let mut of: HashMap<u16, Vec<u16>> = HashMap::new();
    for target in targets.iter().filter(|target| target.has_any()) {
        of.entry(target.priority).or_default().push(target.weight);
    }
    of.retain(|_, weights| weights.iter().any(|weight| *weight != weights[0]));
    let mean =
        |weights: Vec<u16>| weights.iter().map(|weight| shown(*weight)).sum::<f64>() / weights.len() as f64;
    of.into_iter().map(|(priority, weights)| (priority, mean(weights))).collect()
}

/// A record with the weight 0 beside others has "a very small chance" (RFC 2782): here that of 1.
fn shown(weight: u16) -> f64 {
    f64::from(weight.max(1))
}

impl Target {
    fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.told
            .iter()
            .flat_map(|told| match told {
                Told::Addresses(ips) => ips.as_slice(),
                Told::None | Told::Failed(_) => &[],
            })
            .copied()
    }

    /// Forgets all but so many addresses in each family.
    pub fn limit(&mut self, most: usize) {
        for told in &mut self.told {
            if let Told::Addresses(ips) = told {
                ips.sort_unstable();
                ips.truncate(most);
            }
        }
    }

    fn has_any(&self) -> bool {
        self.ips().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Ask;

    fn source(hold: u64) -> DnsSource {
        let ask = Ask::Addresses { name: "n".into(), port: 80 };
        DnsSource { ask, https: false, hold: Duration::from_secs(hold) }
    }

    fn v4(last: &[u8]) -> Told {
        if last.is_empty() {
            return Told::None;
        }
        Told::Addresses(last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect())
    }

    fn target(name: &str, priority: u16, weight: u16, told: Told) -> Target {
        Target { name: name.into(), port: 80, priority, weight, told: [told, Told::None] }
    }

    fn one(told: Told) -> Reply {
        Reply::Targets { targets: vec![target("n", 0, 0, told)], ttl: Duration::from_secs(7) }
    }

    fn failed() -> Told {
        Told::Failed("timed out".into())
    }

    fn shown((verdict, again): (Verdict, Duration)) -> String {
        let what = match verdict {
            Verdict::Found(nodes) => {
                let node = |node: &FoundNode| {
                    let weight = node.weight.map(|weight| format!(" {weight:?}")).unwrap_or_default();
                    let host = node.host.as_ref().map(|host| format!(" {host}")).unwrap_or_default();
                    format!("{}{host}{weight}{}", node.address, if node.backup { " backup" } else { "" })
                };
                nodes.iter().map(node).collect::<Vec<_>>().join(", ")
            }
            Verdict::Kept(why) => format!("kept: {}", why.0),
        };
        format!("{}s {what}", again.as_secs())
    }

    #[test]
    fn answers_and_what_follows() {
        let start = Instant::now();
        let mut names = Names::default();
        let table = [
            (0, Reply::None, "1s "),
            (1, one(v4(&[2, 1])), "7s 10.0.0.1:80, 10.0.0.2:80"),
            (8, one(v4(&[1, 2])), "7s 10.0.0.1:80, 10.0.0.2:80"),
            (15, Reply::Failed("refused".into()), "1s kept: refused"),
            (16, Reply::Failed("refused".into()), "2s kept: refused"),
            (18, one(failed()), "4s kept: timed out"),
            (99_999, Reply::Failed("refused".into()), "8s kept: refused"),
            (100_000, one(v4(&[3])), "7s 10.0.0.3:80"),
            (100_007, Reply::None, "1s kept: the answer is that there are no nodes"),
            (100_010, one(Told::None), "2s kept: the answer is that there are no nodes"),
            (100_011, Reply::Failed("refused".into()), "4s kept: refused"),
            (100_016, Reply::None, "5s kept: the answer is that there are no nodes"),
            (100_017, Reply::None, "5s "),
            (100_018, Reply::Failed("refused".into()), "30s kept: refused"),
            (100_020, one(v4(&[3])), "7s 10.0.0.3:80"),
            (100_030, one(Told::None), "1s kept: the answer is that there are no nodes"),
        ];
        for (at, reply, expected) in table {
            let now = start + Duration::from_secs(at);
            assert_eq!(shown(names.hear(reply, &source(10), now)), expected, "at {at}");
        }
        let mut at_once = Names::default();
        at_once.hear(one(v4(&[1])), &source(0), start);
        assert_eq!(shown(at_once.hear(Reply::None, &source(0), start)), "1s ");
    }

    #[test]
    fn a_part_that_fails_keeps_its_addresses_and_the_rest_is_believed() {
        let now = Instant::now();
        let mut names = Names::default();
        let both = |told: [Told; 2]| Reply::Targets {
            targets: vec![Target { told, ..target("n", 0, 0, Told::None) }],
            ttl: Duration::ZERO,
        };
        let v6 = Told::Addresses(vec!["::1".parse().expect("an address")]);
        let mut hear = |told| shown(names.hear(both(told), &source(10), now));
        assert_eq!(hear([v4(&[1]), v6]), "1s 10.0.0.1:80, [::1]:80");
        assert_eq!(hear([v4(&[1]), failed()]), "1s kept: timed out");
        assert_eq!(hear([v4(&[2]), failed()]), "2s 10.0.0.2:80, [::1]:80");
        assert_eq!(hear([failed(), failed()]), "4s kept: timed out");
        assert_eq!(hear([v4(&[2]), Told::None]), "1s 10.0.0.2:80");
        assert_eq!(hear([v4(&[2]), failed()]), "1s 10.0.0.2:80", "it had none before");
    }

    #[test]
    fn priorities_and_weights_of_services() {
        let now = Instant::now();
        let hear = |targets: Vec<Target>, https| {
            let source = DnsSource { https, ..source(10) };
            let reply = Reply::Targets { targets, ttl: Duration::from_hours(1) };
            shown(Names::default().hear(reply, &source, now))
        };
        let table = [
            (vec![target("a", 0, 5, v4(&[1])), target("b", 0, 5, v4(&[2]))], "10.0.0.1:80, 10.0.0.2:80"),
            (
                vec![target("a", 7, 3, v4(&[1])), target("b", 7, 1, v4(&[2]))],
                "10.0.0.1:80 Fixed(1.5), 10.0.0.2:80 Fixed(0.5)",
            ),
            (
                vec![target("a", 20, 0, v4(&[1])), target("b", 10, 0, v4(&[2])), target("c", 5, 0, v4(&[]))],
                "10.0.0.1:80 backup, 10.0.0.2:80",
            ),
            (vec![target("a", 20, 0, v4(&[1])), target("b", 10, 0, v4(&[1, 2]))], "10.0.0.1:80, 10.0.0.2:80"),
        ];
        for (targets, expected) in table {
            let mut turned = targets.clone();
            turned.reverse();
            assert_eq!(hear(targets, false), format!("300s {expected}"));
            assert_eq!(hear(turned, false), format!("300s {expected}"));
        }
        let secure = hear(vec![target("a.b", 0, 0, v4(&[1]))], true);
        assert_eq!(secure, "300s https://10.0.0.1:80 a.b");
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![
            prop::collection::btree_set(1..9_u8, 1..4)
                .prop_map(|set| v4(&set.into_iter().collect::<Vec<_>>())),
            Just(Told::None),
            Just(failed()),
        ]
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let target = (0..4_u8, 0..3_u16, 0..4_u16, told())
            .prop_map(|(name, priority, weight, told)| target(&format!("n{name}"), priority, weight, told));
        let targets = prop::collection::vec(target, 0..5);
        prop_oneof![
            4 => (targets, 0..1000_u64)
                .prop_map(|(targets, ttl)| Reply::Targets { targets, ttl: Duration::from_secs(ttl) }),
            1 => Just(Reply::None),
            1 => Just(Reply::Failed("refused".into())),
        ]
    }

    proptest! {
        /// A pool is emptied by no answer but one that there are none, for `hold`; addresses are distinct, one is no backup, and the
        /// pause is within its bounds.
        #[test]
        fn nothing_empties_the_list_before_its_time(replies in prop::collection::vec((reply(), 0..8_u64), 1..20)) {
            let mut now = Instant::now();
            let mut names = Names::default();
            let mut empty_since = None;
            let mut last: Vec<FoundNode> = Vec::new();
            for (reply, pause) in replies {
                now += Duration::from_secs(pause);
                let says_none = match &reply {
                    Reply::None => true,
                    Reply::Targets { targets, .. } => {
                        targets.iter().all(|target| target.told.iter().all(|told| *told == Told::None))
                    }
                    Reply::Failed(_) => false,
                };
                empty_since = if says_none { empty_since.or(Some(now)) } else { empty_since };
                let (verdict, again) = names.hear(reply, &source(10), now);
                prop_assert!(again >= Duration::from_secs(1) && again <= Duration::from_mins(5));
                if let Verdict::Found(nodes) = verdict {
                    let held = empty_since.is_some_and(|since| now - since >= Duration::from_secs(10));
                    prop_assert!(!nodes.is_empty() || last.is_empty() || says_none && held);
                    let addresses: std::collections::HashSet<_> = nodes.iter().map(|node| &node.address).collect();
                    prop_assert_eq!(addresses.len(), nodes.len());
                    prop_assert!(nodes.is_empty() || nodes.iter().any(|node| !node.backup));
                    empty_since = if nodes.is_empty() { empty_since } else { None };
                    last = nodes;
                }
            }
        }
    }
}
