//! Causes that lie with the gateway itself.

use super::scene::GatewayScene;
use super::words::count;
use crate::status::{Cause, Severity};

pub(super) fn causes(gateway: &GatewayScene) -> Vec<Cause> {
    let mut all = Vec::new();
    let mut say = |severity, text| all.push(Cause { severity, pool: None, node: None, text });
    if let Some(error) = &gateway.reload_error {
        let text = format!(
            "the last reload was refused, generation {} stays in use: {}",
            gateway.generation,
            error.lines().map(str::trim).collect::<Vec<_>>().join("; ")
        );
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
