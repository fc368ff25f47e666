//! The fields that tell a client what is left to its key.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::account::{Quota, Standing};
use crate::classify::dialect::Shape;

const OPENAI: [[&str; 3]; 2] = [
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
];
const ANTHROPIC: [[&str; 3]; 2] = [
    [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ],
    [
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ],
];

/// Names and values, none for what has no limit: Anthropic's on its paths, OpenAI's on all others. `wall`: the present time.
pub fn fields(standing: &Standing, shape: Shape, wall: SystemTime) -> Vec<(&'static str, String)> {
    let is_anthropic = shape == Shape::Anthropic;
    let names = if is_anthropic { ANTHROPIC } else { OPENAI };
    let reset = |quota: &Quota| {
        if is_anthropic { point(wall, quota.reset) } else { span(quota.reset) }
    };
    let quotas = [&standing.requests, &standing.tokens];
    let told = names.into_iter().zip(quotas).filter_map(|(names, quota)| {
        let quota = quota.as_ref()?;
        let values = [quota.limit.to_string(), quota.remaining.to_string(), reset(quota)];
        Some(names.into_iter().zip(values))
    });
    told.flatten().collect()
}

/// A span of time as OpenAI writes it: `120ms`, `1s`, `6m0s`, `1h0m0s`; rounded up.
fn span(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let seconds = millis.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The point in time after that span, in RFC 3339, rounded up to seconds.
fn point(wall: SystemTime, span: Duration) -> String {
    let at = wall.checked_add(span).and_then(|at| at.checked_add(Duration::from_nanos(999_999_999)));
    let second = at.and_then(|at| Timestamp::try_from(at).ok()).map_or(i64::MAX, Timestamp::as_second);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX).to_string()
}
