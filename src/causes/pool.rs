//! Causes that lie with a pool as a whole: its queue, and a key that is too hot.

use crate::status::{Cause, Severity};
use std::sync::Arc;

use super::past::Chosen;
use super::scene::{NodeScene, PoolScene};
use super::words::{count, time};
use crate::config::Class;
use crate::outcome::Outcome;

/// Choices by key from which on their distribution says something.
const CHOICES_ENOUGH: u64 = 20;
/// The part of them that may go to another node than their own before a key is called hot.
const ELSEWHERE_MAX: f64 = 0.25;

pub(super) fn causes(pool: &PoolScene) -> Vec<Cause> {
    let all = [none_up(pool), waits(pool), hot_key(pool), spills(pool)];
    all.into_iter().flatten().collect()
}

fn cause(pool: &PoolScene, severity: Severity, text: String) -> Option<Cause> {
    Some(Cause { severity, pool: Some(Arc::clone(&pool.name)), node: None, text })
}

fn none_up(pool: &PoolScene) -> Option<Cause> {
    let is_without = pool.nodes.is_empty() && pool.sources.is_empty();
    if is_without || pool.usable().next().is_some() {
        return None;
    }
    let waiting = match pool.queue {
        0 => "requests wait for one, up to retry.wait".to_owned(),
        queue => format!("{} for one, up to retry.wait", requests_wait(queue)),
    };
    let what = if pool.nodes.is_empty() { "no source has named a node" } else { "no node is up" };
    cause(pool, Severity::Bad, format!("{what}: {waiting}"))
}

fn requests_wait(queue: usize) -> String {
    let wait = if queue == 1 { "waits" } else { "wait" };
    format!("{} {wait}", count(queue as u64, "request"))
}

fn waits(pool: &PoolScene) -> Option<Cause> {
    if pool.queue == 0 || pool.usable().next().is_none() {
        return None;
    }
    let is_at_cap = |node: &NodeScene| node.held.or(node.cap).is_some_and(|cap| node.in_flight >= cap);
    let says_full = |node: &NodeScene| node.happened.with(Outcome::Busy) > 0;
    let up = pool.usable().count();
    let for_what = if pool.usable().all(is_at_cap) {
        let cap: u32 = pool.usable().filter_map(|node| node.cap).sum();
        let nodes = if up == 1 {
            "the node that is up is".to_owned()
        } else {
            format!("all {up} nodes that are up are")
        };
        let held = pool.usable().map(|node| node.held.or(node.cap).unwrap_or(0)).sum();
        if cap > held {
            format!(
                "{nodes} at what this gateway holds of max_in_flight ({held} of {cap}; other gateways have the rest)"
            )
        } else {
            format!("{nodes} at max_in_flight ({cap} in all)")
        }
    } else if pool.usable().any(says_full) {
        "nodes say that they are full (503, 429)".to_owned()
    } else {
        "those that may serve them have no slot".to_owned()
    };
    let by_class: Vec<_> = Class::ALL
        .iter()
        .zip(pool.waiting)
        .filter(|(class, waiting)| *waiting > 0 && **class != Class::Normal)
        .map(|(class, waiting)| format!("{waiting} {}", class.as_str()))
        .collect();
    let classes = if by_class.is_empty() { String::new() } else { format!(" ({})", by_class.join(", ")) };
    let longest = time(pool.oldest);
    let text = format!("{}{classes}, the longest for {longest}: {for_what}", requests_wait(pool.queue));
    cause(pool, Severity::Warn, text)
}

fn hot_key(pool: &PoolScene) -> Option<Cause> {
    let Chosen { own, elsewhere, .. } = pool.chosen;
    let part = elsewhere as f64 / (own + elsewhere) as f64;
    if own + elsewhere < CHOICES_ENOUGH || part < ELSEWHERE_MAX {
        return None;
    }
    let fullest = pool.usable().max_by(|a, b| load(a).total_cmp(&load(b)))?;
    let text = format!(
        "{:.0} % of the requests went to another node than their key's: one key or shared prefix is more than a node's share, \
         and {} is the fullest with {} in flight; they are spread (affinity bound), so the cache of their own node serves fewer of them",
        part * 100.0,
        fullest.name,
        fullest.in_flight
    );
    cause(pool, Severity::Warn, text)
}

fn load(node: &NodeScene) -> f64 {
    f64::from(node.in_flight) / node.weight.max(f64::MIN_POSITIVE)
}

fn spills(pool: &PoolScene) -> Option<Cause> {
    if pool.chosen.spills == 0 {
        return None;
    }
    let text = format!(
        "{} went to another pool just now, because they would have had to wait here (spill)",
        count(pool.chosen.spills, "request")
    );
    cause(pool, Severity::Info, text)
}
