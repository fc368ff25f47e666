//! Node states and gateway events of the demo, as text.

use std::time::Duration;

use crate::fleet::{Change, Event, NodeSnapshot, NodeState, Reason};

/// A node's state in the gateway's view; short, for a column of the table.
pub(super) fn state(node: &NodeSnapshot) -> String {
    match (node.state, node.ejected_for) {
        (NodeState::Up, _) if node.share < 1.0 => format!("slow start {:.0}%", node.share * 100.0),
        (NodeState::Ejected, Some(left)) if !left.is_zero() => format!("ejected {} s", seconds_up(left)),
        (NodeState::Ejected, _) => "ejected, silent".to_owned(),
        (state, _) => state.as_str().to_owned(),
    }
}

/// Seconds rounded up: a countdown that shows 0 only when it is over.
fn seconds_up(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// A gateway event, as the rest of a sentence that starts with "the gateway".
pub(super) fn event(event: &Event, slow_start: Duration) -> String {
    let node = &event.node;
    match &event.change {
        Change::Ejected { reason, time } if time.is_zero() => {
            format!("ejects {node} until it answers again: {}", why(*reason))
        }
        Change::Ejected { reason, time } => format!("ejects {node} for {time:?}: {}", why(*reason)),
        Change::Probing => format!("hears from {node} and sends it one request"),
        Change::Back { reason } => {
            format!("readmits {node} ({}); its share rises within {slow_start:?}", why(*reason))
        }
        Change::Accepts
        | Change::Joined
        | Change::Registered
        | Change::Draining
        | Change::DrainedByOperator
        | Change::UndrainedByOperator { .. }
        | Change::Skipped { .. } => format!("{node}: {}", event.change),
    }
}

fn why(reason: Reason) -> String {
    match reason {
        Reason::Failures(outcome) => format!("too many failures ({outcome})"),
        Reason::ProbeFailed(outcome) => format!("its probe failed ({outcome})"),
        Reason::AtWork => "its probe is at work".to_owned(),
        Reason::Answered => "it answered".to_owned(),
        _ => reason.to_string(),
    }
}

/// A time as minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// "1 request", "2 requests".
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::outcome::Outcome;

    fn said(change: Change) -> String {
        let (pool, node) = ("demo".into(), "a".into());
        let event = Event { number: 1, at: Instant::now(), pool, node, change, in_flight: 3 };
        super::event(&event, Duration::from_secs(5))
    }

    #[test]
    fn events() {
        let reason = Reason::Failures(Outcome::Reset);
        let ejected = said(Change::Ejected { reason, time: Duration::from_secs(5) });
        assert_eq!(ejected, "ejects a for 5s: too many failures (reset)");
        let back = said(Change::Back { reason: Reason::AtWork });
        assert_eq!(back, "readmits a (its probe is at work); its share rises within 5s");
    }

    #[test]
    fn times_and_counts() {
        assert_eq!(clock(Duration::from_millis(754_900)), "12:34");
        assert_eq!(seconds_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_up(Duration::from_secs(4)), 4);
        assert_eq!((counted(1, "request"), counted(0, "request")), ("1 request".into(), "0 requests".into()));
    }
}
