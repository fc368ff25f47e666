//! `/api/requests`: the requests under way, and an end for one of them.

use std::time::Instant;

use http::{HeaderMap, Method, StatusCode, Uri};

use super::answer::Answer;
use super::origin;
use crate::live::{Cancelled, Live, NotCancelled};
use crate::route::percent_decoded;
use crate::status::requests::{Format, Query, text};

pub(super) const PATH: &str = "/api/requests";
const USAGE: &str = "try GET /api/requests, or POST to /api/requests/{number}/cancel";

pub(super) fn answer(live: &Live, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
    let rest = uri.path().strip_prefix(PATH).unwrap_or_default();
    if rest.is_empty() {
        return match *method {
            Method::GET | Method::HEAD if let Some(why) = origin::read_refusal(live, uri, headers) => {
                Answer::error(StatusCode::FORBIDDEN, why)
            }
            Method::GET | Method::HEAD => list(live, uri.query().unwrap_or_default()),
            _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, USAGE).allowing("GET, HEAD"),
        };
    }
    let Some(number) = number(rest) else {
        return Answer::error(StatusCode::NOT_FOUND, USAGE);
    };
    if *method != Method::POST {
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "an order is sent with POST").allowing("POST");
    }
    match origin::refusal(live, uri, headers) {
        Some(why) => Answer::error(StatusCode::FORBIDDEN, why),
        None => cancel(live, number),
    }
}

/// Of `/{number}/cancel`.
fn number(rest: &str) -> Option<u64> {
    rest.strip_prefix('/')?.strip_suffix("/cancel")?.parse().ok()
}

fn list(live: &Live, query: &str) -> Answer {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| percent_decoded(text).unwrap_or_default();
        (decoded(name), decoded(value))
    });
    match Query::read(pairs) {
        Ok(query) => {
            let text = text(live.requests.list(Instant::now()), &query);
            match query.format {
                Format::Json => Answer::json(text),
                Format::Csv => Answer::csv(text),
            }
        }
        Err(why) => Answer::error(StatusCode::BAD_REQUEST, &why),
    }
}

fn cancel(live: &Live, number: u64) -> Answer {
    match live.requests.cancel(number) {
        Ok(Cancelled { pool, id }) => {
            log::info!(pool = &*pool, rid = &*id; "pool {pool}: request {id} is cancelled by an operator");
            let body = serde_json::json!({ "number": number, "cancelled": true }).to_string();
            // it ends in a moment, or has just had the last of its answer
            Answer::json(body).with_status(StatusCode::ACCEPTED)
        }
        Err(NotCancelled::Unknown) => {
            let message =
                format!("there is no open request with the number {number}: it has ended, or never was");
            Answer::error(StatusCode::NOT_FOUND, &message)
        }
        Err(NotCancelled::Already) => {
            Answer::error(StatusCode::CONFLICT, "it has been cancelled before, and is about to end")
        }
        Err(NotCancelled::Arriving) => Answer::error(
            StatusCode::CONFLICT,
            "its body is still arriving, which client.body_timeout and client.body_min_rate limit; try again later",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_a_number() {
        for (rest, want) in [
            ("/7/cancel", Some(7)),
            ("/7", None),
            ("/x/cancel", None),
            ("/-1/cancel", None),
            ("7/cancel", None),
        ] {
            assert_eq!(number(rest), want, "{rest}");
        }
    }
}
