//! Causes that lie with the gateway itself.

use super::scene::GatewayScene;
use super::words::count;
use crate::status::{Cause, Severity};

/// The most problems of a file that are told, and the longest text of one in characters.
const PROBLEMS_MAX: usize = 3;
const PROBLEM_MAX: usize = 300;

fn first_problems(error: &str) -> String {
    let lines: Vec<_> = error.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told = lines.iter().take(PROBLEMS_MAX).map(|line| line.chars().take(PROBLEM_MAX).collect::<String>());
    let told = told.collect::<Vec<_>>().join("; ");
    match lines.len().saturating_sub(PROBLEMS_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

pub(super) fn causes(gateway: &GatewayScene) -> Vec<Cause> {
    let mut all = Vec::new();
    let mut say = |severity, text| all.push(Cause { severity, pool: None, node: None, text });
    if let Some(error) = &gateway.reload_error {
        let text = format!(
            "the last reload was refused, generation {} stays in use: {}",
            gateway.generation,
            first_problems(error)
        );
        say(Severity::Bad, text);
    }
    if let Some(error) = &gateway.keys_error {
        let text =
            format!("the file of keys was refused, those read before stay in use: {}", first_problems(error));
        say(Severity::Bad, text);
    }
    if gateway.refused_connections > 0 {
        let text = format!(
            "{} refused just now: client.max_connections is reached",
            count(gateway.refused_connections, "connection")
        );
        say(Severity::Bad, text);
    }
    if gateway.lost_log_lines > 0 {
        let text = format!(
            "{} of the access log lost just now: the disk is full, or slower than the traffic",
            count(gateway.lost_log_lines, "line")
        );
        say(Severity::Warn, text);
    }
    if gateway.stopping {
        let text = format!("the gateway is stopping: {} left", count(gateway.requests, "request"));
        say(Severity::Info, text);
    }
    all
}
