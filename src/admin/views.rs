//! The views beside the status: `/api/history`, `/api/events`, and nodes and events as CSV.

use std::time::{Instant, SystemTime};

use http::{HeaderMap, StatusCode, Uri};

use super::answer::Answer;
use super::origin;
use crate::history::Span;
use crate::live::Live;
use crate::status::{self, Moment};

pub(super) const HISTORY: &str = "/api/history";
pub(super) const EVENTS: &str = "/api/events";
pub(super) const NODES: &str = "/api/nodes";

const HISTORY_USAGE: &str = "try ?span=5m, 1h or 24h, and from=BIN for the bins from that one on";

/// One of the paths above.
pub(super) fn answer(live: &Live, uri: &Uri, headers: &HeaderMap) -> Answer {
    if let Some(why) = origin::read_refusal(live, uri, headers) {
        return Answer::error(StatusCode::FORBIDDEN, why);
    }
    let moment = Moment { at: Instant::now(), wall: SystemTime::now() };
    let is_csv = parameter(uri, "format") == Some("csv");
    match uri.path() {
        HISTORY => history(live, uri, moment),
        EVENTS => {
            // sampler, feed and reload wait for its lock: text is made of a copy
            let history = live.history.lock().without_curves();
            if is_csv {
                Answer::csv(status::events_csv(&history, moment))
            } else {
                Answer::json(status::events_json(&history, moment))
            }
        }
        _ if is_csv => Answer::csv(status::nodes_csv(&live.snapshot(moment.at))),
        _ => Answer::error(StatusCode::BAD_REQUEST, "try ?format=csv; /api/status has the nodes in JSON"),
    }
}

fn history(live: &Live, uri: &Uri, moment: Moment) -> Answer {
    let span = Span::named(parameter(uri, "span").unwrap_or("5m"));
    let from = parameter(uri, "from").map(str::parse::<u64>).transpose();
    match (span, from) {
        (Some(span), Ok(from)) => {
            let history = live.history.lock().curves();
            Answer::json(status::history_json(&history, span, from, moment))
        }
        _ => Answer::error(StatusCode::BAD_REQUEST, HISTORY_USAGE),
    }
}

/// The value of a parameter in the query, if it is there.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
