//! The numbers of pools.

use std::fmt;

use super::sheet::Sheet;
use crate::balance::By;
use crate::config::Class;
use crate::fleet::{PoolSnapshot, Resumed};
use crate::retry::RetryReason;
use crate::status::Snapshot;

pub(super) fn write(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    requests(sheet, s)?;
    let pools = || s.pools.iter();
    let retries = pools().flat_map(|pool| {
        let of = RetryReason::ALL.iter().zip(pool.counters.retries);
        of.map(|(why, count)| ([("pool", &*pool.name), ("reason", why.as_str())], count))
    });
    sheet.counters("retries", "Attempts after the first, by the failure of the attempt before.", retries)?;
    let unkept = pools().map(|pool| ([pool_label(pool)], pool.counters.unkept_bodies));
    sheet.counters(
        "unkept_bodies",
        "Requests sent only once because their body was too large to keep.",
        unkept,
    )?;
    let resumes = pools().flat_map(|pool| {
        let of = Resumed::ALL.iter().zip(pool.counters.resumes);
        of.map(|(result, count)| ([pool_label(pool), ("result", result.as_str())], count))
    });
    sheet.counters("resumes", "Broken streams in pools with retry.resume, by result.", resumes)?;
    let choices = pools().flat_map(|pool| {
        let of = By::ALL.iter().zip(pool.counters.choices).filter(|(_, count)| *count > 0);
        of.map(|(by, count)| ([("by", by.as_str()), pool_label(pool)], count))
    });
    sheet.counters("choices", "Attempts, by the reason for their node.", choices)?;
    let spills = pools().map(|pool| ([pool_label(pool)], pool.counters.spills));
    sheet.counters(
        "spills",
        "Requests that went to another pool because they would have had to wait.",
        spills,
    )?;
    let queue = pools().map(|pool| ([pool_label(pool)], pool.queue as u64));
    sheet.gauges("queue_length", "Requests that wait for a slot or a node.", queue)?;
    let by_class = pools().flat_map(|pool| {
        let of = Class::ALL.iter().zip(pool.queue_by_class);
        of.map(|(class, waiting)| ([("class", class.as_str()), pool_label(pool)], waiting as u64))
    });
    sheet.gauges("class_queue_length", "Requests that wait for a slot or a node, by class.", by_class)?;
    tokens(sheet, s)
}

fn requests(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    let help = "Requests answered, by status code; an empty pool label: answered without a pool, or refused before there was one.";
    let unrouted = s.unrouted.requests.iter().map(|(code, count)| ("", code, count));
    let routed = s
        .pools
        .iter()
        .flat_map(|pool| pool.counters.requests.iter().map(|(code, count)| (&*pool.name, code, count)));
    let labelled = |(pool, code, count): (_, &u16, &u64)| (([("code", *code)], [("pool", pool)]), *count);
    sheet.counters("requests", help, unrouted.chain(routed).map(labelled))
}

fn tokens(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    let tokens = s.pools.iter().flat_map(|pool| {
        pool.timings().flat_map(move |(class, timings)| {
            let of = [("answer", timings.answer_tokens), ("prompt", timings.prompt_tokens)];
            let labels = move |kind| [("class", class.as_str()), ("kind", kind), pool_label(pool)];
            of.map(|(kind, count)| (labels(kind), count))
        })
    });
    let help = "Tokens of requests that have ended, of prompts and of answers: as the nodes told them; where they told none for an answer, \
                an event of a stream counts as one.";
    sheet.counters("tokens", help, tokens)
}

fn pool_label(pool: &PoolSnapshot) -> (&'static str, &str) {
    ("pool", &pool.name)
}
