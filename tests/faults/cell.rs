//! Running one request for each row and combination of the fault matrix; it goes to the failing node first.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::fleet::PoolSnapshot;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{Saw, ask};
use super::harness::{self, Gateway, LIMIT, eventually, pool_of, steps};
use super::rows::{Arm, Mode, Row, TOKENS};

/// Concurrent requests: few, because on an overloaded machine healthy nodes would seem to fail.
const AT_ONCE: usize = 16;
/// Most requests until one meets a kept-alive connection that the node closes.
const STALE_WITHIN: usize = 50;
/// Longer than any test, so that no crashed node comes back.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The variations within a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Combination {
    pub healthy: usize,
    /// Bytes of the prompt.
    pub prompt: usize,
}

pub(crate) const COMBINATIONS: [Combination; 4] = [
    Combination { healthy: 1, prompt: 20 },
    Combination { healthy: 1, prompt: 200 << 10 },
    Combination { healthy: 2, prompt: 20 },
    Combination { healthy: 2, prompt: 200 << 10 },
];

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = if self.prompt < 1 << 10 { "small body" } else { "200 KiB body" };
        write!(f, "{} healthy, {body}", self.healthy)
    }
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub saw: Saw,
    pub charge: Charge,
    /// A healthy node was tried too.
    pub elsewhere: bool,
}

/// The charge of the failing node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// Outcomes of its attempts; good ones only if there were no others.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Failures counted towards `max_fails`.
    pub failures: usize,
}

impl End {
    pub(crate) fn is_failure(&self) -> bool {
        self.saw != Saw::Whole
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; charged: {}; elsewhere: {}", self.saw, self.charge, self.elsewhere)
    }
}

impl Charge {
    /// The expected charge of one attempt with this outcome: neither load nor a stale connection is a failure.
    pub(crate) fn of(outcome: Outcome) -> Charge {
        let is_free = matches!(outcome, Outcome::Ok | Outcome::Busy | Outcome::Stale);
        Charge { outcomes: vec![(outcome, 1)], failures: usize::from(!is_free) }
    }

    fn on(pool: &PoolSnapshot) -> Charge {
        let node = &pool.nodes[0];
        let bad = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Ok);
        let counted = bad.map(|outcome| (outcome, node.attempts_with(outcome)));
        let outcomes: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        // a node with only good attempts was charged with nothing
        let outcomes = if outcomes.is_empty() { vec![(Outcome::Ok, 1)] } else { outcomes };
        Charge { outcomes, failures: node.recent_failures }
    }
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |count: &u64| if *count == 1 { String::new() } else { format!(" {count} times") };
        let named = self.outcomes.iter().map(|(outcome, count)| format!("`{outcome}`{}", times(count)));
        let outcomes = named.collect::<Vec<_>>().join(", ");
        match self.failures {
            0 => write!(f, "nothing ({outcomes})"),
            1 => write!(f, "{outcomes}"),
            count => write!(f, "{outcomes}, {count} failures"),
        }
    }
}

/// The ends of all rows, each in the order of [`COMBINATIONS`].
pub(crate) async fn run_all(rows: Vec<Row>) -> Vec<Vec<End>> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut fleets = Vec::new();
    for combination in COMBINATIONS {
        fleets.push(Arc::new(Fleet::start(combination, &rows).await));
    }
    let mut cells = JoinSet::new();
    for number in 0..rows.len() {
        for (column, fleet) in fleets.iter().enumerate() {
            let (fleet, permits) = (Arc::clone(fleet), Arc::clone(&permits));
            cells.spawn(async move {
                let _permit = permits.acquire_owned().await.unwrap();
                (number, column, fleet.end(number).await)
            });
        }
    }
    let mut ends = cells.join_all().await;
    ends.sort_by_key(|(number, column, _)| (*number, *column));
    let ends: Vec<End> = ends.into_iter().map(|(_, _, end)| end).collect();
    ends.chunks(COMBINATIONS.len()).map(<[End]>::to_vec).collect()
}

/// One combination: a gateway with a pool for each row. The pools share the healthy nodes, but no counts.
struct Fleet {
    gateway: Gateway,
    combination: Combination,
    rows: Vec<Row>,
    healthy: Vec<Node>,
    /// The failing node of each row; `None` where nothing listens.
    faulty: Vec<Option<Node>>,
}

fn node(name: &str) -> Node {
    let options = Options { name: name.to_owned(), step: steps(2), startup: FOR_EVER, ..Options::default() };
    harness::node(options)
}

impl Fleet {
    async fn start(combination: Combination, rows: &[Row]) -> Fleet {
        let healthy: Vec<_> = ["b", "c"].into_iter().take(combination.healthy).map(node).collect();
        let faulty: Vec<_> = rows.iter().map(|row| (row.arm != Arm::ClosedPort).then(|| node("a"))).collect();
        let good: String = healthy.iter().map(|node| format!(", \"{}\"", node.addr())).collect();
        let mut pools = String::new();
        for (number, (row, bad)) in rows.iter().zip(&faulty).enumerate() {
            let bad = bad.as_ref().map_or(harness::free_port(), |node| node.addr().port());
            let comma = if row.conf.is_empty() { "" } else { ", " };
            let more = format!("models: [row-{number}]{comma}{}", row.conf);
            pools += &pool_of(&format!("row-{number}"), &format!("\"127.0.0.1:{bad}\"{good}"), &more);
        }
        let gateway = Gateway::with("", &pools).await;
        Fleet { gateway, combination, rows: rows.to_vec(), healthy, faulty }
    }

    fn pool(&self, number: usize) -> PoolSnapshot {
        let name = format!("row-{number}");
        self.gateway.status().pools.into_iter().find(|pool| *pool.name == *name).unwrap()
    }

    async fn end(&self, number: usize) -> End {
        let row = &self.rows[number];
        let stream = row.mode != Mode::Whole;
        let prompt: String = "Tell me of the sea. ".chars().cycle().take(self.combination.prompt).collect();
        let usage = if stream { r#","stream_options":{"include_usage":true}"# } else { "" };
        let request = format!(
            r#"{{"model":"row-{number}","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":{TOKENS},"stream":{stream}{usage}}}"#
        );
        let expected = ask(self.healthy[0].addr(), &request).await.good(stream);
        if let (Arm::Fault(text), Some(node)) = (row.arm, &self.faulty[number]) {
            node.set_fault(harness::fault(text));
        }
        for _ in 0..STALE_WITHIN {
            let before = self.asked_elsewhere(number);
            let saw = ask(self.gateway.address, &request).await.judge(stream, &expected);
            let given_back = || self.pool(number).nodes.iter().all(|node| node.in_flight == 0);
            eventually(LIMIT, "the leases are given back", given_back).await;
            if self.faulty[number].as_ref().is_none_or(|node| node.stats().struck > 0) {
                let elsewhere = self.asked_elsewhere(number) > before;
                return End { saw, charge: Charge::on(&self.pool(number)), elsewhere };
            }
            assert_eq!(
                (row.arm, &saw),
                (Arm::Fault("stale,times=1"), &Saw::Whole),
                "{row}: it did not strike"
            );
        }
        panic!("{row}: no connection was used again");
    }

    /// Attempts on healthy nodes.
    fn asked_elsewhere(&self, number: usize) -> u64 {
        let pool = self.pool(number);
        pool.nodes[1..].iter().flat_map(|node| node.attempts).sum()
    }
}
