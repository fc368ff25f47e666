//! The numbers of nodes.

use std::fmt;
use std::time::Duration;

use super::sheet::Sheet;
use crate::fleet::{NodeSnapshot, NodeState, PoolSnapshot};
use crate::outcome::Outcome;

type Labels<'a> = [(&'static str, &'a str); 2];

pub(super) fn write(sheet: &mut Sheet<'_>, pools: &[PoolSnapshot]) -> fmt::Result {
    load(sheet, pools)?;
    tokens(sheet, pools)?;
    speed(sheet, pools)?;
    let states = each(pools).flat_map(|(labels, node)| {
        NodeState::ALL.map(|one| (with(labels, "state", one.as_str()), u64::from(one == node.state)))
    });
    sheet.gauges("node_state", "1 for the current state of the node.", states)?;
    let attempts = each(pools).flat_map(|(labels, node)| {
        let of = Outcome::ALL.iter().zip(node.attempts);
        of.map(move |(outcome, count)| (with(labels, "outcome", outcome.as_str()), count))
    });
    sheet.counters("attempts", "Attempts that have ended.", attempts)?;
    let ejections = each(pools).map(|(labels, node)| (labels, node.ejections));
    sheet.counters("ejections", "Ejections of the node.", ejections)
}

fn load(sheet: &mut Sheet<'_>, pools: &[PoolSnapshot]) -> fmt::Result {
    let in_flight = each(pools).map(|(labels, node)| (labels, node.in_flight));
    sheet.gauges("node_in_flight", "Requests that the node has in flight.", in_flight)?;
    let help = "Estimated work that the node has before it, in tokens of a prompt; with balance: least_work.";
    let work = each(pools).filter_map(|(labels, node)| Some((labels, node.work?)));
    sheet.gauges("node_work_in_flight", help, work)?;
    let help = "Weight of the node relative to the others; learned if set to auto.";
    sheet.gauges("node_weight", help, each(pools).map(|(labels, node)| (labels, node.weight)))?;
    let help = "Most requests that the node may have in flight, if there is a limit; learned if set to auto.";
    let limits = each(pools).filter_map(|(labels, node)| Some((labels, node.max_in_flight?)));
    sheet.gauges("node_max_in_flight", help, limits)?;
    let help = "The part of that limit which this gateway holds; only in a cluster.";
    sheet.gauges(
        "node_credits",
        help,
        each(pools).filter_map(|(labels, node)| Some((labels, node.held?))),
    )?;
    let elsewhere = each(pools).filter_map(|(labels, node)| Some((labels, node.elsewhere?)));
    let help = "Requests that the other gateways of the cluster have in flight on the node.";
    sheet.gauges("node_in_flight_elsewhere", help, elsewhere)
}

fn tokens(sheet: &mut Sheet<'_>, pools: &[PoolSnapshot]) -> fmt::Result {
    let told = || each(pools).filter(|(_, node)| node.prompts[0] > 0);
    let help = "Tokens of prompts whose cached part the node has told.";
    sheet.counters("node_prompt_tokens", help, told().map(|(labels, node)| (labels, node.prompts[0])))?;
    let help = "Those of them that it had in its prefix cache.";
    sheet.counters("node_cached_tokens", help, told().map(|(labels, node)| (labels, node.prompts[1])))?;
    let help = "Tokens of the node's answers, as they come: an event of a stream counts as one, until the node tells more.";
    sheet.counters("node_answer_tokens", help, each(pools).map(|(labels, node)| (labels, node.answer_tokens)))
}

/// Of the last minutes, for a histogram a node would be too much.
fn speed(sheet: &mut Sheet<'_>, pools: &[PoolSnapshot]) -> fmt::Result {
    let of = |labels, times: Option<[Duration; 2]>| {
        let times = times.into_iter().flat_map(|times| ["50", "99"].into_iter().zip(times));
        times.map(move |(part, time)| (with(labels, "percentile", part), time.as_secs_f64()))
    };
    let help = "Time from sending a stream's request to the node to its first words, of the last 3 to 6 minutes: half of them, and 99 of 100, took \
                no longer.";
    let first = each(pools).flat_map(|(labels, node)| of(labels, node.lately.first_token));
    sheet.gauges("node_time_to_first_token_seconds", help, first)?;
    let help = "Mean time from one token to the next of a stream of the node, of the last 3 to 6 minutes: in half of them, and in 99 of 100, it was no \
                longer.";
    let inter = each(pools).flat_map(|(labels, node)| of(labels, node.lately.inter_token));
    sheet.gauges("node_inter_token_seconds", help, inter)
}

fn each(pools: &[PoolSnapshot]) -> impl Iterator<Item = (Labels<'_>, &NodeSnapshot)> {
    pools.iter().flat_map(|pool| {
        pool.nodes.iter().map(|node| ([("node", &*node.id.name), ("pool", &*pool.name)], node))
    })
}

/// With a third label, in the order of the alphabet, as it has always been shown.
fn with<'a>(labels: Labels<'a>, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
    let [node, pool] = labels;
    if name < "pool" { [node, (name, value), pool] } else { [node, pool, (name, value)] }
}
