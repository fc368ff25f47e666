//! Causes that lie with one node.

use crate::status::{Cause, Severity};
use std::sync::Arc;
use std::time::Duration;

use super::out;
use super::scene::{NodeScene, PoolScene};
use super::words::{count, failure, time};
use crate::outcome::Outcome;

/// All streams of a node are silent for so long: no engine is between two tokens for that time.
const STREAMS_HANG: Duration = Duration::from_secs(10);
/// Before an answer begins, silence means little: a prompt of 100,000 tokens takes a minute.
const ANSWERS_HANG: Duration = Duration::from_secs(60);
/// The others of the pool have sent something within this part of its silence.
const OTHERS_SPEAK: u32 = 4;
/// A part of the attempts from which on failures stand out, and the least number of them.
const FAILS_PART: f64 = 0.1;
const FAILS_MIN: u64 = 3;
/// A node below this part of the others' speed is slow.
const SLOW: f64 = 0.6;
/// Paused streams, of those of a node, from which on it is said to preempt; and the least number of them.
const PAUSED_PART: f64 = 0.02;
const PAUSED_MIN: u32 = 2;

pub(super) fn causes(node: &NodeScene, pool: &PoolScene) -> Vec<Cause> {
    let state = out::state(node);
    let is_out = state.is_some() && !node.is_usable();
    let at_work = [hangs(node, pool), fails(node), refuses(node), preempts(node), slow(node, pool)];
    let at_work = at_work.into_iter().flatten().filter(|_| !is_out);
    let cause = |(severity, text)| Cause {
        severity,
        pool: Some(Arc::clone(&pool.name)),
        node: Some(Arc::clone(&node.name)),
        text,
    };
    state.into_iter().chain(at_work).map(cause).collect()
}

type Found = Option<(Severity, String)>;

fn hangs(node: &NodeScene, pool: &PoolScene) -> Found {
    let silent = node.open.silent?;
    let begun = node.open.streams_silent.is_some_and(|silent| silent >= STREAMS_HANG);
    let others = || pool.usable().filter(|other| !Arc::ptr_eq(&other.name, &node.name));
    let speaks = |other: &NodeScene| other.open.silent.is_some_and(|theirs| theirs <= silent / OTHERS_SPEAK);
    let is_late = silent >= ANSWERS_HANG && others().any(speaks);
    if !(begun && silent >= STREAMS_HANG) && !is_late {
        return None;
    }
    let check = match node.check {
        Some(true) => ", its health check passes",
        Some(false) => ", and its health check fails",
        None => "",
    };
    let text = format!(
        "{} has been silent for {} with {}{check}: it hangs",
        node.name,
        time(silent),
        count(node.in_flight.into(), "request")
    );
    Some((Severity::Bad, text))
}

fn fails(node: &NodeScene) -> Found {
    let (told, (failures, most)) = (node.happened.told(), node.happened.failures());
    let busy = node.happened.with(Outcome::Busy);
    let within = time(node.happened.within);
    if failures >= FAILS_MIN && failures as f64 >= FAILS_PART * told as f64 {
        let text = format!(
            "{} {}: {failures} of its last {told} attempts failed within {within}",
            node.name,
            failure(most?)
        );
        return Some((Severity::Bad, text));
    }
    (busy >= FAILS_MIN && busy as f64 >= FAILS_PART * told as f64).then(|| {
        let text = format!(
            "{} {}: {busy} of its last {told} attempts within {within}; a max_in_flight keeps requests here until it has room",
            node.name,
            failure(Outcome::Busy)
        );
        (Severity::Warn, text)
    })
}

fn refuses(node: &NodeScene) -> Found {
    let (model, status) = node.refuses.first()?;
    let more = match node.refuses.len() {
        1 => String::new(),
        all => format!(", and {} besides", count(all as u64 - 1, "model")),
    };
    let text = format!(
        "{} answers {status} for {model:?}{more}, which other nodes serve: it does not serve that model, and is skipped for it",
        node.name
    );
    Some((Severity::Warn, text))
}

fn preempts(node: &NodeScene) -> Found {
    let open = node.open;
    let speaks = open.streams_silent.is_some_and(|silent| silent < Duration::from_secs(1));
    let stands_out =
        open.paused >= PAUSED_MIN && f64::from(open.paused) >= PAUSED_PART * f64::from(open.streams);
    if !speaks || !stands_out {
        return None;
    }
    let cap = match node.cap {
        Some(cap) => format!("its cap of {cap} is above what its KV cache holds"),
        None => "its KV cache holds fewer than it has; max_in_flight (a number or auto) keeps the rest here"
            .to_owned(),
    };
    let text = format!(
        "{} preempts: {} of its {} paused while the others go on; {cap}",
        node.name,
        open.paused,
        if open.streams == 1 { "1 stream has".to_owned() } else { format!("{} streams have", open.streams) }
    );
    Some((Severity::Warn, text))
}

fn slow(node: &NodeScene, pool: &PoolScene) -> Found {
    let own = node.happened.speed()?;
    let others = pool.usable().filter(|other| !Arc::ptr_eq(&other.name, &node.name));
    let mut speeds: Vec<_> = others.filter_map(|other| other.happened.speed()).collect();
    speeds.sort_by(f64::total_cmp);
    let median = *speeds.get(speeds.len() / 2)?;
    (own < SLOW * median).then(|| {
        let text = format!(
            "{} is slow: a request there gets {own:.0} tokens a second, on the other nodes {median:.0}; it has {} in flight \
             (weight: auto gives it fewer)",
            node.name, node.in_flight
        );
        (Severity::Warn, text)
    })
}
