//! Every dialect, with a node that fails in each of its ways: the client's view, the attempts, and the node's charge.

mod answer;
mod api;
mod column;
mod paths;

use std::sync::Arc;

use evenkeel::classify::dialect::{DIALECTS, Dialect};
use evenkeel::fleet::PoolSnapshot;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};
use tokio::task::JoinSet;

use super::harness::{self, Gateway, LIMIT, eventually, pool_of};
use super::table;
use answer::{Saw, ask};
use api::{APIS, Api, TOKENS};
use column::{COLUMNS, Case, Column, End};
pub(crate) use paths::known_by_their_endings;

/// The first node is chosen as long as it is free, and nothing ejects it; the head waits for the first event however busy
/// the machine is.
const CONF: &str = "health: { max_fails: 1000000, fail_timeout: 1h }, timeouts: { first_event: 20s }";

fn pool_conf(model: &str, first: &Node, second: &Node) -> String {
    let nodes = format!(
        "{{ name: a, address: \"{}\", weight: 1000 }}, {{ name: b, address: \"{}\" }}",
        first.addr(),
        second.addr()
    );
    pool_of(model, &nodes, &format!("models: [{model}], {CONF}"))
}

/// The nodes for each row: one that fails, and a healthy one.
struct Nodes {
    faulty: Vec<Node>,
    healthy: Vec<Node>,
}

/// A column, under way.
struct Run {
    gateway: Gateway,
    column: Column,
    nodes: Arc<Nodes>,
}

fn model(row: usize) -> String {
    format!("row-{row}")
}

impl Nodes {
    fn start() -> Self {
        let node = |name: &str, api: &Api| {
            harness::node(Options { engine: api.engine, name: name.to_owned(), ..Options::default() })
        };
        let all = |name: &str| APIS.iter().map(|api| node(name, api)).collect();
        Self { faulty: all("a"), healthy: all("b") }
    }
}

impl Run {
    async fn start(column: Column, nodes: Arc<Nodes>) -> Self {
        let pools = nodes.faulty.iter().zip(&nodes.healthy).enumerate();
        let pools: String =
            pools.map(|(row, (first, second))| pool_conf(&model(row), first, second)).collect();
        Self { gateway: Gateway::with("", &pools).await, column, nodes }
    }

    fn pool(&self, row: usize) -> PoolSnapshot {
        let (name, pools) = (model(row), self.gateway.status().pools);
        pools.into_iter().find(|pool| *pool.name == *name).unwrap()
    }

    /// The ends of a cell's requests, each with what is wrong with the words that came.
    async fn cell(&self, row: usize) -> Vec<(Case, End)> {
        let api = &APIS[row];
        if self.column.rule(api).is_none() {
            return Vec::new();
        }
        let whole = ask(self.nodes.healthy[row].addr(), api.path, api.request(&model(row))).await.body;
        let said = api.said(&api.events(&whole));
        assert!(!api.streams() || said.split_whitespace().count() == TOKENS, "{}: {whole}", api.name());
        let mut ends = Vec::new();
        for case in self.column.cases(api, &whole) {
            let end = self.end(row, &case, &whole).await;
            ends.push((case, end));
        }
        ends
    }

    async fn end(&self, row: usize, case: &Case, whole: &str) -> End {
        let (api, node) = (&APIS[row], &self.nodes.faulty[row]);
        let struck = node.stats().struck;
        if let Some(fault) = &case.fault {
            node.set_fault(harness::fault(&format!("{fault},times=1")));
        }
        let before = self.pool(row);
        let (kind, mut body) = api.request(&model(row));
        if case.is_mistake {
            body.truncate(body.len() - "--b--\r\n".len().min(body.len() / 4));
        }
        let answer = ask(self.gateway.address, api.path, (kind, body)).await;
        let given_back = || self.pool(row).nodes.iter().all(|node| node.in_flight == 0);
        eventually(LIMIT, "the leases are given back", given_back).await;
        let after = self.pool(row);
        assert_eq!(node.stats().struck - struck, u64::from(case.fault.is_some()), "{}: {case:?}", api.name());
        let mut saw = answer.judge(api, whole);
        let said = api.said(&api.events(&answer.body));
        let is_beginning = api.said(&api.events(whole)).starts_with(&said);
        let words = said.split_whitespace().count();
        if matches!(saw, Saw::Cut | Saw::Error) && (words != case.words || !is_beginning) {
            saw = Saw::Strange(format!("{words} words, not {}: {:?}", case.words, answer.body));
        }
        let attempts = |pool: &PoolSnapshot| pool.nodes.iter().flat_map(|node| node.attempts).sum::<u64>();
        End { saw, attempts: attempts(&after) - attempts(&before), charges: charges(&before, &after) }
    }
}

/// The failures between two snapshots of a pool.
fn charges(before: &PoolSnapshot, after: &PoolSnapshot) -> Vec<Outcome> {
    let mut charges = Vec::new();
    for (before, after) in before.nodes.iter().zip(&after.nodes) {
        let counted = after.recent_failures - before.recent_failures;
        let failures = Outcome::ALL.into_iter().filter(|outcome| outcome.is_failure()).flat_map(|outcome| {
            let times = after.attempts_with(outcome) - before.attempts_with(outcome);
            std::iter::repeat_n(outcome, usize::try_from(times).unwrap())
        });
        let failures: Vec<_> = failures.collect();
        assert_eq!(failures.len(), counted, "a failure is charged once: {failures:?}");
        charges.extend(failures);
    }
    charges
}

/// The faults found, and the table.
pub(crate) async fn run_all() -> (Vec<String>, String) {
    let nodes = Arc::new(Nodes::start());
    let mut wrong = Vec::new();
    let mut lines: Vec<Vec<String>> = APIS.iter().map(|api| vec![api.name()]).collect();
    for column in COLUMNS {
        let run = Arc::new(Run::start(column, Arc::clone(&nodes)).await);
        let mut cells = JoinSet::new();
        for row in 0..APIS.len() {
            let run = Arc::clone(&run);
            cells.spawn(async move { (row, run.cell(row).await) });
        }
        let mut cells = cells.join_all().await;
        cells.sort_by_key(|(row, _)| *row);
        for (row, ends) in cells {
            let (api, mut shown) = (&APIS[row], Vec::new());
            let rule = column.rule(api);
            for (case, end) in ends {
                if Some(&end) != rule.as_ref() {
                    let want = rule.as_ref().map(ToString::to_string).unwrap_or_default();
                    wrong.push(format!(
                        "{}, {column}, {case:?}:\n  wanted {want}\n  not    {end}",
                        api.name()
                    ));
                }
                let end = end.to_string();
                if !shown.contains(&end) {
                    shown.push(end);
                }
            }
            lines[row].push(if shown.is_empty() { "-".to_owned() } else { shown.join(" or ") });
        }
    }
    let head = ["dialect".to_owned()].into_iter().chain(COLUMNS.iter().map(ToString::to_string)).collect();
    lines.insert(0, head);
    (wrong, table::aligned(&lines))
}

/// A dialect that is added to the gateway's table wants a row here.
pub(crate) fn without_a_row() -> Vec<&'static str> {
    let has_row = |dialect: &Dialect| APIS.iter().any(|api| api.dialect() == dialect);
    DIALECTS.iter().filter(|dialect| !has_row(dialect)).map(|dialect| dialect.paths[0]).collect()
}
