//! The columns of the two tables.

use super::answers::{Node, Pool, Request, Times};
use super::grid::{Cell, Column, Key, Tone};
use super::model::{Model, Picture};
use super::words::{age, clean, latency, rate, state};

/// A node with what is known of it from elsewhere.
pub(super) struct NodeRow {
    /// Empty if there is only one pool.
    pool: String,
    queue: u64,
    node: Node,
    failures: Option<f64>,
}

/// All nodes, in the order of the config.
pub(super) fn node_rows(model: &Model, picture: &Picture) -> Vec<NodeRow> {
    let is_alone = picture.status.pools.len() < 2;
    let row = |pool: &Pool, node: &Node| NodeRow {
        pool: if is_alone { String::new() } else { clean(&pool.name) },
        queue: pool.queue,
        node: node.clone(),
        failures: model.failures_per_second(&pool.name, node),
    };
    let pools = picture.status.pools.iter();
    pools.flat_map(|pool| pool.nodes.iter().map(move |node| row(pool, node))).collect()
}

const fn text<R>(
    name: &'static str,
    rank: u8,
    least: usize,
    cell: fn(&R) -> Cell,
    key: fn(&R) -> Key,
) -> Column<R> {
    Column { name, rank, least, is_number: false, cell, key }
}

const fn number<R>(name: &'static str, rank: u8, cell: fn(&R) -> Cell, key: fn(&R) -> Key) -> Column<R> {
    // numbers are never cut
    Column { name, rank, least: usize::MAX, is_number: true, cell, key }
}

fn words(text: &str) -> Key {
    Key::Text(text.to_owned())
}

fn some(value: Option<f64>) -> Key {
    Key::Number(value.unwrap_or(-1.0))
}

fn load(node: &Node) -> String {
    let cap = node.max_in_flight.map_or_else(String::new, |cap| format!("/{cap}"));
    let held = node.held.map_or_else(String::new, |held| format!("/{held}"));
    format!("{}{held}{cap}", node.in_flight)
}

/// The part of its cap that a node has in flight; without a cap 64 fill the bar.
fn fill(node: &Node) -> Cell {
    let tone = match state(node) {
        Cell::Text(_, tone) | Cell::Bar(_, _, tone) => tone,
    };
    Cell::Bar(node.in_flight, node.max_in_flight.unwrap_or(64), tone)
}

fn failed(node: &Node) -> Cell {
    let count = node.failed();
    Cell::Text(count.to_string(), if count > 0 { Tone::Warn } else { Tone::Plain })
}

fn failing(failures: Option<f64>) -> Cell {
    match failures {
        Some(failures) if failures > 0.0 => Cell::Text(rate(failures), Tone::Bad),
        other => Cell::some(other.map(rate)),
    }
}

fn last_failure(node: &Node) -> Cell {
    // the time without its day
    let clock =
        |time: &str| time.split_once('T').map_or("", |(_, clock)| clock).trim_end_matches('Z').to_owned();
    Cell::some(
        node.last_failure.as_ref().map(|last| clean(&format!("{} {}", last.outcome, clock(&last.time)))),
    )
}

fn p50(times: Option<Times>) -> Option<f64> {
    times.and_then(|times| times.p50)
}

fn p99(times: Option<Times>) -> Option<f64> {
    times.and_then(|times| times.p99)
}

/// The columns of nodes.
pub(super) const NODES: &[Column<NodeRow>] = &[
    text("pool", 2, 6, |r| Cell::plain(&r.pool), |r| words(&r.pool)),
    text("node", 0, 12, |r| Cell::Text(clean(&r.node.name), Tone::Strong), |r| words(&r.node.name)),
    text("state", 0, 26, |r| state(&r.node), |r| words(&r.node.state)),
    number("in flight", 0, |r| Cell::plain(load(&r.node)), |r| Key::Number(r.node.in_flight as f64)),
    text("load", 5, 4, |r| fill(&r.node), |r| Key::Number(part(&r.node))),
    number("queue", 6, |r| Cell::plain(r.queue), |r| Key::Number(r.queue as f64)),
    number("weight", 10, |r| Cell::plain(rate(r.node.weight)), |r| Key::Number(r.node.weight)),
    number("share", 11, |r| Cell::plain(share(&r.node)), |r| Key::Number(r.node.slow_start_share)),
    number("ok", 4, |r| Cell::plain(r.node.succeeded()), |r| Key::Number(r.node.succeeded() as f64)),
    number("failed", 1, |r| failed(&r.node), |r| Key::Number(r.node.failed() as f64)),
    number("fails/s", 3, |r| failing(r.failures), |r| some(r.failures)),
    number(
        "tok/s",
        7,
        |r| Cell::some(r.node.tokens_per_second.map(rate)),
        |r| some(r.node.tokens_per_second),
    ),
    number("ttft p50", 9, |r| Cell::some(p50(r.node.ttft).map(latency)), |r| some(p50(r.node.ttft))),
    number("ttft p99", 8, |r| Cell::some(p99(r.node.ttft).map(latency)), |r| some(p99(r.node.ttft))),
    number(
        "token p50",
        12,
        |r| Cell::some(p50(r.node.inter_token).map(latency)),
        |r| some(p50(r.node.inter_token)),
    ),
    number(
        "token p99",
        12,
        |r| Cell::some(p99(r.node.inter_token).map(latency)),
        |r| some(p99(r.node.inter_token)),
    ),
    text("last failure", 13, 20, |r| last_failure(&r.node), |r| words(last_time(&r.node))),
];

fn part(node: &Node) -> f64 {
    node.in_flight as f64 / node.max_in_flight.unwrap_or(64).max(1) as f64
}

fn share(node: &Node) -> String {
    format!("{:.0}%", node.slow_start_share * 100.0)
}

fn last_time(node: &Node) -> &str {
    node.last_failure.as_ref().map_or("", |last| &last.time)
}

fn stage(request: &Request) -> Cell {
    let tone = match request.state.as_str() {
        "streaming" => Tone::Well,
        "retrying" | "resumed" => Tone::Coming,
        "waiting" => Tone::Warn,
        _ => Tone::Plain,
    };
    Cell::Text(clean(&request.state), tone)
}

fn named(name: &Option<String>) -> Cell {
    Cell::plain(clean(name.as_deref().unwrap_or_default()))
}

fn tries(request: &Request) -> Cell {
    Cell::Text(request.attempts.to_string(), if request.attempts > 1 { Tone::Warn } else { Tone::Plain })
}

/// The place of the column of their age.
pub(super) const AGE: usize = 5;

/// The columns of open requests.
pub(super) const REQUESTS: &[Column<Request>] = &[
    number("number", 4, |r| Cell::plain(r.number), |r| Key::Number(r.number as f64)),
    text("state", 0, 9, stage, |r| words(&r.state)),
    text("pool", 6, 6, |r| named(&r.pool), |r| words(r.pool.as_deref().unwrap_or_default())),
    text("node", 1, 8, |r| named(&r.node), |r| words(r.node.as_deref().unwrap_or_default())),
    text("class", 7, 6, |r| Cell::plain(clean(&r.class)), |r| words(&r.class)),
    number("age", 0, |r| Cell::plain(age(r.age_seconds)), |r| Key::Number(r.age_seconds)),
    number("in state", 9, |r| Cell::plain(age(r.state_seconds)), |r| Key::Number(r.state_seconds)),
    number("ttft", 11, |r| Cell::some(r.ttft_seconds.map(latency)), |r| some(r.ttft_seconds)),
    number("silent", 10, |r| Cell::some(r.silent_seconds.map(age)), |r| some(r.silent_seconds)),
    number("tokens", 2, |r| Cell::plain(r.tokens), |r| Key::Number(r.tokens as f64)),
    number("tok/s", 3, |r| Cell::some(r.tokens_per_second.map(rate)), |r| some(r.tokens_per_second)),
    number("tries", 5, tries, |r| Key::Number(r.attempts as f64)),
    text("path", 8, 14, |r| Cell::plain(clean(&format!("{} {}", r.method, r.path))), |r| words(&r.path)),
    text("id", 12, 10, |r| Cell::plain(clean(&r.id)), |r| words(&r.id)),
];

/// The name of that order in `/api/requests`, so that the gateway sends those that come first of many.
pub(super) fn order_of(column: usize) -> &'static str {
    match REQUESTS.get(column).map(|column| column.name) {
        Some("in state") => "state",
        Some("silent") => "silent",
        Some("tokens") => "tokens",
        Some("tok/s") => "speed",
        Some("tries") => "attempts",
        Some("pool") => "pool",
        Some("node") => "node",
        _ => "age",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::requests::Query;

    #[test]
    fn the_gateway_knows_every_order() {
        for place in 0..=REQUESTS.len() {
            let pair = ("sort".to_owned(), order_of(place).to_owned());
            assert!(Query::read([pair]).is_ok(), "{place}");
        }
        assert_eq!((REQUESTS[AGE].name, order_of(AGE)), ("age", "age"));
    }
}
