//! `router_settings` and what `litellm_settings` says of the same: policy, retries, failures, timeouts.

use std::time::Duration;

use super::super::draft::{Draft, Mapping};
use super::super::note::{Kind, Origin};
use super::tree::Tree;
use crate::config::units::show_duration;

const ATTEMPTS_MAX: u64 = 16;
/// A generation is longer than that.
const SHORT: f64 = 300.0;
const LONGEST: f64 = 366.0 * 24.0 * 3600.0;

/// The settings of all pools.
#[derive(Debug, Default)]
pub(super) struct Router {
    pub balance: Option<(&'static str, Origin)>,
    pub by_weight: bool,
    learns: Option<Origin>,
    attempts: Option<(u64, Origin)>,
    max_fails: Option<(u64, Origin)>,
    fail_timeout: Option<(String, Origin)>,
    read: Option<(String, Origin)>,
}

/// Reads them; the router's own go first.
pub(super) fn router(root: Tree, draft: &mut Draft) -> Router {
    let sections: Vec<Tree> =
        ["router_settings", "litellm_settings"].iter().filter_map(|key| root.get(key)).collect();
    let find = |keys| find(&sections, keys);
    let mut router = Router::default();
    strategy(find(&["routing_strategy"]), &mut router, draft);
    if let Some((key, at)) = find(&["num_retries"])
        && let Some((retries, from)) = at.text().and_then(|text| text.parse::<u64>().ok()).zip(at.origin(key))
    {
        router.attempts = Some((retries.saturating_add(1).min(ATTEMPTS_MAX), from));
    }
    failures(&sections, &mut router, draft);
    if let Some((key, at)) = find(&["timeout", "request_timeout"]) {
        router.read = seconds(at).zip(at.origin(key));
        let reason = "LiteLLM ends an answer after that time in all; here it is the longest silence of a node, as a whole answer is silent until its end";
        let advice = if at.number().is_some_and(|time| time < SHORT) {
            "make it longer than the longest generation"
        } else {
            ""
        };
        draft.note(Kind::Warning, at.place(), key, reason, advice);
    }
    if let Some((key, at)) = find(&["stream_timeout"]) {
        draft.note(
            Kind::Left,
            at.place(),
            key,
            "a time that holds for streams alone is not known",
            "see `timeouts.stall` and `first_byte`",
        );
    }
    router
}

/// The first of these keys, in the first section that has one.
fn find<'a>(sections: &[Tree<'a>], keys: &[&'static str]) -> Option<(&'static str, Tree<'a>)> {
    sections.iter().find_map(|section| section.any(keys))
}

fn strategy(found: Option<(&str, Tree)>, router: &mut Router, draft: &mut Draft) {
    let Some((key, at)) = found else {
        router.by_weight = true;
        let reason = "without `routing_strategy` LiteLLM draws at random, blind to load; Evenkeel gives each request to the node with the fewest in flight";
        draft.note(Kind::Warning, None, "", reason, "`balance: random` draws");
        return;
    };
    let Some(from) = at.origin(key) else { return };
    let mut warn =
        |reason: &str, advice: &str| draft.note(Kind::Warning, at.place(), &from.words, reason, advice);
    match at.text().unwrap_or_default().as_str() {
        "simple-shuffle" => {
            router.by_weight = true;
            router.balance = Some(("random", from.clone()));
            warn(
                "a random choice is blind to load",
                "remove `balance`, and each goes to the node with the fewest in flight",
            );
        }
        "least-busy" => router.balance = Some(("least_in_flight", from)),
        "usage-based-routing" | "usage-based-routing-v2" => {
            router.balance = Some(("least_work", from.clone()));
            warn("LiteLLM goes by the tokens of the last minute, Evenkeel by those that are in flight", "");
        }
        "latency-based-routing" => {
            router.balance = Some(("least_in_flight", from.clone()));
            router.learns = Some(from);
        }
        _ => warn(
            "nodes of your own have no price, and plugins are not known; each request goes to the node with the fewest in flight",
            "",
        ),
    }
}

fn failures(sections: &[Tree], router: &mut Router, draft: &mut Draft) {
    let find = |keys| find(sections, keys);
    if let Some((key, at)) = find(&["disable_cooldowns"]).filter(|(_, at)| at.is_on()) {
        router.max_fails = at.origin(key).map(|from| (0, from));
        let reason =
            "a dead node is never taken out, and the policy that counts requests in flight prefers it";
        draft.note(
            Kind::Warning,
            at.place(),
            key,
            reason,
            "remove `health.max_fails`, and the default of 5 holds",
        );
    }
    if let Some((key, at)) = find(&["allowed_fails"])
        && let Some((fails, from)) = at.text().and_then(|text| text.parse::<u64>().ok()).zip(at.origin(key))
    {
        // LiteLLM takes it out at the next one
        router.max_fails.get_or_insert((fails.saturating_add(1).min(1_000_000), from));
    }
    if let Some((key, at)) = find(&["cooldown_time"]) {
        router.fail_timeout = seconds(at).zip(at.origin(key));
        let reason = "LiteLLM counts the failures of a minute; here this time is both their window and the length of the first ejection";
        draft.note(
            Kind::Warning,
            at.place(),
            key,
            reason,
            "make it about as long as a node takes to restart",
        );
    }
}

/// A number of seconds as a key of the config takes it.
fn seconds(at: Tree) -> Option<String> {
    let time = at.number().filter(|time| *time > 0.0)?;
    let time = Duration::from_secs_f64(time.clamp(0.001, LONGEST));
    Some(show_duration(Duration::from_millis(u64::try_from(time.as_millis()).ok()?)))
}

impl Router {
    /// Writes down the policy.
    pub(super) fn policy(&self, pool: &mut Mapping) {
        if let Some((balance, from)) = &self.balance {
            pool.word("balance", *balance, Some(from));
        }
        if let Some(from) = &self.learns {
            pool.word("weight", "auto", Some(from));
        }
    }

    /// Writes down the rest.
    pub(super) fn settings(&self, pool: &mut Mapping) {
        pool.section("health", |health| {
            if let Some((fails, from)) = &self.max_fails {
                health.word("max_fails", fails.to_string(), Some(from));
            }
            if let Some((time, from)) = &self.fail_timeout {
                health.word("fail_timeout", time.clone(), Some(from));
            }
        });
        pool.section("retry", |retry| {
            if let Some((attempts, from)) = &self.attempts {
                retry.word("attempts", attempts.to_string(), Some(from));
            }
        });
        pool.section("timeouts", |timeouts| {
            if let Some((time, from)) = &self.read {
                timeouts.word("read", time.clone(), Some(from));
            }
        });
    }
}
