//! `GET /api/history`: curves and marks in compact JSON, and the marks alone.

use std::fmt::Write;

use serde::Serialize;

use super::time::{Moment, text};
use crate::history::{Curve, History, Mark, Span};

/// The curves of a span from the bin `from` on, as far as they are kept. Bin `n` began at `origin + n * step * 1000`, in
/// milliseconds since 1970. A curve is a list of means with `null` where nothing is known, or one number that all are; wider
/// bins have a list of maxima, too.
pub fn history_json(history: &History, span: Span, from: Option<u64>, moment: Moment) -> String {
    let window = span.window(history.second(moment.at));
    let first = from.unwrap_or_default().clamp(*window.start(), window.end() + 1);
    let window = first..=*window.end();
    let mut json = format!(
        r#"{{"span":"{}","step":{},"origin":{},"first":{first},"bins":{},"pools":["#,
        span.as_str(),
        span.step(),
        moment.origin(history),
        window.end() + 1 - first
    );
    for (place, pool) in history.pools().iter().enumerate() {
        json.push_str(if place > 0 { "," } else { "" });
        let _ = write!(json, r#"{{"name":{},"waiting":"#, quoted(&pool.name));
        write_curve(&mut json, &pool.waiting, span, &window, None);
        json.push_str(r#","nodes":["#);
        for (place, (name, curve)) in pool.nodes().enumerate() {
            json.push_str(if place > 0 { "," } else { "" });
            write_curve(&mut json, curve, span, &window, Some(name));
        }
        json.push_str("]}");
    }
    json.push_str("]}");
    json
}

fn write_curve(
    json: &mut String,
    curve: &Curve,
    span: Span,
    window: &std::ops::RangeInclusive<u64>,
    name: Option<&str>,
) {
    json.push('{');
    if let Some(name) = name {
        let _ = write!(json, r#""name":{},"#, quoted(name));
    }
    let points = || window.clone().map(|bin| curve.point(span, bin));
    json.push_str(r#""mean":"#);
    write_values(json, points().map(|point| point.map(|point| point.mean)));
    if span != Span::Minutes {
        json.push_str(r#","max":"#);
        write_values(json, points().map(|point| point.map(|point| point.max * 10)));
    }
    json.push('}');
}

/// Values in tenths.
fn write_values(json: &mut String, values: impl Iterator<Item = Option<u32>> + Clone) {
    let mut distinct = values.clone();
    let first = distinct.next().flatten();
    if first.is_some() && distinct.all(|value| value == first) {
        write_value(json, first);
        return;
    }
    json.push('[');
    for (place, value) in values.enumerate() {
        json.push_str(if place > 0 { "," } else { "" });
        write_value(json, value);
    }
    json.push(']');
}

fn write_value(json: &mut String, tenths: Option<u32>) {
    let _ = match tenths {
        None => write!(json, "null"),
        Some(tenths) if tenths % 10 == 0 => write!(json, "{}", tenths / 10),
        Some(tenths) => write!(json, "{}.{}", tenths / 10, tenths % 10),
    };
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A mark in JSON.
#[derive(Serialize)]
pub(super) struct MarkStatus {
    number: u64,
    pub time: String,
    /// `null`: it concerns the gateway.
    pub pool: Option<String>,
    pub node: Option<String>,
    pub kind: &'static str,
    pub text: String,
    pub in_flight: u32,
}

/// The marks after the one of this number, oldest first.
pub(super) fn marks(history: &History, after: u64, moment: Moment) -> Vec<MarkStatus> {
    let mark = |mark: &Mark| MarkStatus {
        number: mark.number,
        time: text(moment.of(mark, history)),
        pool: mark.node.as_ref().map(|(pool, _)| pool.to_string()),
        node: mark.node.as_ref().map(|(_, node)| node.to_string()),
        kind: mark.kind.as_str(),
        text: mark.text.clone(),
        in_flight: mark.in_flight,
    };
    history.marks().after(after).map(mark).collect()
}

/// `GET /api/events`: what happened in the last 24 hours, oldest first.
pub fn events_json(history: &History, moment: Moment) -> String {
    serde_json::to_string_pretty(&marks(history, 0, moment))
        .unwrap_or_else(|e| super::error::error_json(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::history::PoolLoad;

    #[test]
    fn curves_are_compact() {
        let started = Instant::now();
        let mut history = History::new(started);
        for (second, (a, waiting)) in [(0, (3, 0)), (1, (4, 0)), (3, (4, 0))] {
            let nodes = vec![("a\"".into(), a), ("b".into(), 2)];
            let load = PoolLoad { name: "p".into(), waiting, nodes };
            history.sample(&[load], started + Duration::from_secs(second));
        }
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_003_500);
        let moment = Moment { at: started + Duration::from_millis(3500), wall };
        let curves = |span, from| history_json(&history, span, from, moment);
        assert_eq!(
            curves(Span::Minutes, None),
            r#"{"span":"5m","step":1,"origin":1000000000,"first":0,"bins":4,"pools":[{"name":"p","waiting":{"mean":[0,0,null,0]},"nodes":[{"name":"a\"","mean":[3,4,null,4]},{"name":"b","mean":[2,2,null,2]}]}]}"#
        );
        assert_eq!(
            curves(Span::Hour, None),
            r#"{"span":"1h","step":10,"origin":1000000000,"first":0,"bins":1,"pools":[{"name":"p","waiting":{"mean":0,"max":0},"nodes":[{"name":"a\"","mean":3.7,"max":4},{"name":"b","mean":2,"max":2}]}]}"#
        );
        assert!(
            curves(Span::Minutes, Some(3))
                .contains(r#""first":3,"bins":1,"pools":[{"name":"p","waiting":{"mean":0}"#)
        );
        for from in [Some(4), Some(u64::MAX)] {
            assert!(curves(Span::Minutes, from).contains(r#""first":4,"bins":0,"#));
        }
    }
}
