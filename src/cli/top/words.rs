//! Times, numbers and states of the gateway, as text.

use super::answers::Node;
use super::grid::{Cell, Tone};

/// Seconds in three or four characters: `0.4s`, `42s`, `3m12s`, `2h05m`, `12d03h`.
pub(super) fn age(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{:.1}s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A latency: `12ms`, `1.24s`, `75s`.
pub(super) fn latency(seconds: f64) -> String {
    match seconds {
        ..0.0995 => format!("{:.1}ms", seconds * 1000.0),
        ..0.9995 => format!("{:.0}ms", seconds * 1000.0),
        ..9.995 => format!("{seconds:.2}s"),
        _ => age(seconds),
    }
}

/// A rate: `0`, `0.25`, `4.2`, `317`.
pub(super) fn rate(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A node's state with its reason and the time that is left, as a cell.
pub(super) fn state(node: &Node) -> Cell {
    let why = node.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let (text, tone) = match node.state.as_str() {
        "up" if node.slow_start_share < 1.0 => {
            (format!("slow start {:.0}%", node.slow_start_share * 100.0), Tone::Coming)
        }
        "up" => ("up".to_owned(), Tone::Well),
        "ejected" => match node.ejected_for_seconds.filter(|left| *left > 0.0) {
            Some(left) => (format!("ejected {:.0} s{why}", left.ceil()), Tone::Bad),
            None => (format!("ejected{why}"), Tone::Bad),
        },
        "draining" => (format!("draining ({})", node.drained_by.join(", ")), Tone::Warn),
        other => (format!("{other}{why}"), Tone::Coming),
    };
    Cell::Text(clean(&text), tone)
}

/// Text from elsewhere without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    // beside control characters those that turn the direction of writing
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_bad(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::testing::node;

    #[test]
    fn times_and_rates_are_short() {
        for (seconds, want) in [
            (0.04, "0.0s"),
            (9.94, "9.9s"),
            (9.95, "10s"),
            (59.4, "59s"),
            (59.5, "1m00s"),
            (3599.0, "59m59s"),
            (7500.0, "2h05m"),
            (1_047_600.0, "12d03h"),
            (-1.0, "0.0s"),
        ] {
            assert_eq!(age(seconds), want, "{seconds}");
        }
        for (seconds, want) in [(0.0042, "4.2ms"), (0.25, "250ms"), (1.236, "1.24s"), (12.0, "12s")] {
            assert_eq!(latency(seconds), want, "{seconds}");
        }
        for (value, want) in [(0.0, "0"), (0.25, "0.25"), (4.2, "4.2"), (316.6, "317")] {
            assert_eq!(rate(value), want, "{value}");
        }
    }

    #[test]
    fn a_state_says_why_and_for_how_long() {
        let mut ejected = node("a", "ejected", &[]);
        ejected.ejected_for_seconds = Some(3.2);
        ejected.reason = Some("max_fails\u{1b}[2J".to_owned());
        let mut ramp = node("a", "up", &[]);
        ramp.slow_start_share = 0.25;
        let mut drained = node("a", "draining", &[]);
        drained.drained_by = vec!["config".to_owned(), "operator".to_owned()];
        for (node, text, tone) in [
            (node("a", "up", &[]), "up", Tone::Well),
            (ramp, "slow start 25%", Tone::Coming),
            (ejected, "ejected 4 s: max_fails\u{fffd}[2J", Tone::Bad),
            (node("a", "ejected", &[]), "ejected", Tone::Bad),
            (drained, "draining (config, operator)", Tone::Warn),
            (node("a", "probing", &[]), "probing", Tone::Coming),
        ] {
            assert_eq!(state(&node), Cell::Text(text.to_owned(), tone));
        }
    }
}
