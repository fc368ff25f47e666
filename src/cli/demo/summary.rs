//! The demo's summary: results of clients, gateway and nodes in a few lines.

use std::fmt;
use std::time::Duration;

use super::picture::{failures, retried};
use super::words::counted;
use crate::config::Class;
use crate::fleet::PoolSnapshot;
use crate::outcome::Outcome;
use crate::retry::RetryReason;
use crate::sim::load::Report;

#[derive(Debug)]
pub(super) struct Summary {
    pub elapsed: Duration,
    pub parts: Vec<Part>,
    pub pool: Option<PoolSnapshot>,
}

/// The results of clients that asked alike.
#[derive(Debug)]
pub(super) struct Part {
    /// The class that they said, if any.
    pub class: Option<Class>,
    pub report: Report,
}

impl Summary {
    /// True if no client saw a failure.
    pub(super) fn is_clean(&self) -> bool {
        self.parts.iter().all(|part| part.report.failed == 0)
    }

    fn clients(&self, f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
        let report = &part.report;
        let requests = counted(report.sent, "request");
        let name = match part.class {
            Some(Class::Interactive) => "people:",
            Some(class) => &format!("{}:", class.as_str()),
            None => "clients:",
        };
        let class = part.class.map_or_else(String::new, |class| format!(" of class {}", class.as_str()));
        write!(
            f,
            "{name:<8} {requests}{class} in {:.0} s, {} answered, ",
            self.elapsed.as_secs_f64(),
            report.succeeded
        )?;
        write!(f, "{} failed", report.failed)?;
        let kinds: Vec<_> = report.failures.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if !kinds.is_empty() {
            write!(f, " ({})", kinds.join(", "))?;
        }
        if report.cut > 0 {
            write!(f, ", {} in flight at the end", report.cut)?;
        }
        let times = report.latency();
        let seconds = |part| times.at(part).as_secs_f64();
        writeln!(f)?;
        writeln!(
            f,
            "         half within {:.1} s, 99% within {:.1} s, the slowest {:.1} s",
            seconds(0.5),
            seconds(0.99),
            seconds(1.0)
        )
    }

    fn gateway(&self, f: &mut fmt::Formatter<'_>, pool: &PoolSnapshot) -> fmt::Result {
        let retries = RetryReason::ALL.iter().zip(pool.counters.retries);
        let retries = retries.filter(|(why, count)| **why != RetryReason::Stale && *count > 0);
        let why: Vec<_> = retries.map(|(why, count)| format!("{} {count}", why.as_str())).collect();
        let retried = retried(pool);
        let ejections = pool.nodes.iter().map(|node| node.ejections).sum();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
        writeln!(f, "gateway: {retried} retried on another node{why}, {}", counted(ejections, "ejection"))?;
        let done: u64 = pool.nodes.iter().map(|node| node.attempts_with(Outcome::Ok)).sum();
        for node in &pool.nodes {
            let own = node.attempts_with(Outcome::Ok);
            let share = own as f64 * 100.0 / done.max(1) as f64;
            let (name, failed) = (&node.id.name, failures(node));
            let ejections = counted(node.ejections, "ejection");
            writeln!(f, "node {name}:  {own} done ({share:.0}%), {failed} failed, {ejections}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| self.clients(f, part))?;
        self.pool.iter().try_for_each(|pool| self.gateway(f, pool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::load::Failure;

    #[test]
    fn the_summary_shows_the_results_of_the_clients() {
        let report = Report { sent: 11, succeeded: 9, failed: 1, cut: 1, ..Report::default() };
        let report = Report { failures: [(Failure::Status(502), 1)].into(), ..report };
        let summary = Summary {
            elapsed: Duration::from_secs(45),
            parts: vec![Part { class: None, report }],
            pool: None,
        };
        assert!(!summary.is_clean());
        let wanted =
            "clients: 11 requests in 45 s, 9 answered, 1 failed (http_502 1), 1 in flight at the end\n";
        assert!(summary.to_string().starts_with(wanted), "{summary}");
    }

    #[test]
    fn each_class_has_its_own_words() {
        let part = |class, succeeded| {
            let report = Report { sent: succeeded, succeeded, ..Report::default() };
            Part { class: Some(class), report }
        };
        let parts = vec![part(Class::Interactive, 41), part(Class::Batch, 160)];
        let summary = Summary { elapsed: Duration::from_secs(40), parts, pool: None };
        assert!(summary.is_clean());
        let text = summary.to_string();
        let firsts: Vec<_> = text.lines().step_by(2).collect();
        assert_eq!(
            firsts,
            [
                "people:  41 requests of class interactive in 40 s, 41 answered, 0 failed",
                "batch:   160 requests of class batch in 40 s, 160 answered, 0 failed"
            ]
        );
    }
}
