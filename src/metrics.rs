//! `GET /metrics`: a snapshot of the gateway in Prometheus' text format.
//!
//! Counters live in the parts that count. A scrape takes a snapshot and formats it, so that metrics cost the
//! requests nothing extra. Labels are bounded: pools and nodes come from the config, outcomes and reasons
//! from enums, codes from HTTP.

use prometheus::{
    Encoder, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use crate::balance::By;
use crate::config::Class;
use crate::fleet::{NodeState, PoolSnapshot, Resumed};
use crate::outcome::Outcome;
use crate::retry::RetryReason;
use crate::status::Snapshot;

/// The body of `GET /metrics`.
pub fn text(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    match fill(snapshot).and_then(|registry| TextEncoder::new().encode(&registry.gather(), &mut out)) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(error) => format!("# {error}\n"),
    }
}

fn fill(s: &Snapshot) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let process = Sheet { registry: &registry };
    let version = env!("CARGO_PKG_VERSION");
    process
        .gauge("build_info", "The running version; always 1.", &["version"])?
        .with_label_values(&[version])
        .set(1);
    let gauges = [
        (
            "config_generation",
            "Generation of the configuration in use; counts from 1 at the start.",
            s.generation,
        ),
        ("config_reload_success", "1 if the last reload succeeded.", u64::from(s.reload.error.is_none())),
        ("requests_in_flight", "Requests under way.", s.requests),
        ("connections", "Open client connections.", s.connections),
        ("kept_body_bytes", "Request bodies kept for another attempt, in bytes.", s.kept_bytes),
    ];
    for (name, help, value) in gauges {
        process.gauge(name, help, &[])?.with_label_values(&[]).set(signed(value));
    }
    let counters = [
        ("config_reload_failures_total", "Reloads that were refused.", s.reload.failures),
        (
            "refused_connections_total",
            "Connections refused because client.max_connections was reached.",
            s.refused_connections,
        ),
        ("lost_log_lines_total", "Access-log lines dropped because of a slow disk.", s.lost_log_lines),
    ];
    for (name, help, value) in counters {
        process.counter(name, help, &[])?.with_label_values(&[]).inc_by(value);
    }
    pools(&process, s)?;
    nodes(&process, &s.pools)?;
    Ok(registry)
}

fn pools(sheet: &Sheet, s: &Snapshot) -> prometheus::Result<()> {
    let help = "Requests answered, by status code; an empty pool label: answered without a pool, or refused before there was one.";
    let requests = sheet.counter("requests_total", help, &["pool", "code"])?;
    for (code, count) in &s.unrouted.requests {
        requests.with_label_values(&["", &code.to_string()]).inc_by(*count);
    }
    let retries = sheet.counter(
        "retries_total",
        "Attempts after the first, by the failure of the attempt before.",
        &["pool", "reason"],
    )?;
    let unkept = sheet.counter(
        "unkept_bodies_total",
        "Requests sent only once because their body was too large to keep.",
        &["pool"],
    )?;
    let resumes = sheet.counter(
        "resumes_total",
        "Broken streams in pools with retry.resume, by result.",
        &["pool", "result"],
    )?;
    let help = "Attempts, by the reason for their node.";
    let choices = sheet.counter("choices_total", help, &["pool", "by"])?;
    let spills = sheet.counter(
        "spills_total",
        "Requests that went to another pool because they would have had to wait.",
        &["pool"],
    )?;
    let queue = sheet.gauge("queue_length", "Requests that wait for a slot or a node.", &["pool"])?;
    let help = "Requests that wait for a slot or a node, by class.";
    let by_class = sheet.gauge("class_queue_length", help, &["pool", "class"])?;
    for pool in &s.pools {
        for (class, waiting) in Class::ALL.iter().zip(pool.queue_by_class) {
            let gauge = by_class.with_label_values(&[&*pool.name, class.as_str()]);
            gauge.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
        queue.with_label_values(&[&*pool.name]).set(i64::try_from(pool.queue).unwrap_or(i64::MAX));
        for (by, count) in By::ALL.iter().zip(pool.counters.choices).filter(|(_, count)| *count > 0) {
            choices.with_label_values(&[&pool.name, by.as_str()]).inc_by(count);
        }
        for (result, count) in Resumed::ALL.iter().zip(pool.counters.resumes) {
            resumes.with_label_values(&[&pool.name, result.as_str()]).inc_by(count);
        }
        for (code, count) in &pool.counters.requests {
            requests.with_label_values(&[&*pool.name, &code.to_string()]).inc_by(*count);
        }
        for (why, count) in RetryReason::ALL.iter().zip(pool.counters.retries) {
            retries.with_label_values(&[&pool.name, why.as_str()]).inc_by(count);
        }
        spills.with_label_values(&[&pool.name]).inc_by(pool.counters.spills);
        unkept.with_label_values(&[&pool.name]).inc_by(pool.counters.unkept_bodies);
    }
    Ok(())
}

fn nodes(sheet: &Sheet, pools: &[PoolSnapshot]) -> prometheus::Result<()> {
    let in_flight =
        sheet.gauge("node_in_flight", "Requests that the node has in flight.", &["pool", "node"])?;
    let help = "Estimated work that the node has before it, in tokens of a prompt; with balance: least_work.";
    let work = sheet.gauge("node_work_in_flight", help, &["pool", "node"])?;
    let help = "Tokens of prompts whose cached part the node has told.";
    let prompts = sheet.counter("node_prompt_tokens_total", help, &["pool", "node"])?;
    let help = "Those of them that it had in its prefix cache.";
    let cached = sheet.counter("node_cached_tokens_total", help, &["pool", "node"])?;
    let help = "Weight of the node relative to the others; learned if set to auto.";
    let weight = sheet.number("node_weight", help, &["pool", "node"])?;
    let help = "Most requests that the node may have in flight, if there is a limit; learned if set to auto.";
    let limit = sheet.gauge("node_max_in_flight", help, &["pool", "node"])?;
    let state =
        sheet.gauge("node_state", "1 for the current state of the node.", &["pool", "node", "state"])?;
    let attempts =
        sheet.counter("attempts_total", "Attempts that have ended.", &["pool", "node", "outcome"])?;
    let ejections = sheet.counter("ejections_total", "Ejections of the node.", &["pool", "node"])?;
    for pool in pools {
        for node in &pool.nodes {
            let labels = [&*pool.name, &*node.id.name];
            in_flight.with_label_values(&labels).set(node.in_flight.into());
            if let Some(amount) = node.work {
                work.with_label_values(&labels).set(i64::try_from(amount).unwrap_or(i64::MAX));
            }
            if node.prompts[0] > 0 {
                prompts.with_label_values(&labels).inc_by(node.prompts[0]);
                cached.with_label_values(&labels).inc_by(node.prompts[1]);
            }
            weight.with_label_values(&labels).set(node.weight);
            if let Some(max) = node.max_in_flight {
                limit.with_label_values(&labels).set(max.into());
            }
            ejections.with_label_values(&labels).inc_by(node.ejections);
            for one in NodeState::ALL {
                state
                    .with_label_values(&[labels[0], labels[1], one.as_str()])
                    .set((one == node.state).into());
            }
            for (outcome, count) in Outcome::ALL.iter().zip(node.attempts) {
                attempts.with_label_values(&[labels[0], labels[1], outcome.as_str()]).inc_by(count);
            }
        }
    }
    Ok(())
}

struct Sheet<'a> {
    registry: &'a Registry,
}

impl Sheet<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help).namespace("evenkeel"), labels)?)
    }

    fn number(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(Opts::new(name, help).namespace("evenkeel"), labels)?)
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help).namespace("evenkeel"), labels)?)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
