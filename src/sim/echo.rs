//! Echo endpoints of the simulated node, which show what a gateway changes on the way.
//!
//! `/echo` reads the whole body before it answers. `/echo-stream` answers as the body comes, so a
//! client that sends a large body must read meanwhile. `/echo-headers` lists the request's headers.
//! `/ws` upgrades, and then echoes raw bytes.

use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::answer::{Answer, json_answer};
use super::api::ApiError;
use super::body::Content;
use super::flight::Flight;
use super::wire::Cut;

/// `{"method", "path", "version", "headers": [[name, value], ...]}`; names in lower case.
pub(super) fn headers(parts: &Parts) -> Answer {
    let list: Vec<Value> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let body = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": list,
    });
    json_answer(body.to_string())
}

/// True for an upgrade to `websocket`.
pub(super) fn wants_upgrade(request: &Request<Incoming>) -> bool {
    request.uri().path() == "/ws" && is_upgrade(request.headers())
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, wanted: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

/// Answers 101 and then echoes every byte. `Sec-WebSocket-Accept` is not computed: nothing here speaks
/// WebSocket beyond the handshake.
pub(super) fn upgrade(flight: &Flight, upgrade: Option<OnUpgrade>) -> Result<Answer, ApiError> {
    let Some(upgrade) = upgrade else {
        let message = "this path requires Connection: Upgrade and Upgrade: websocket";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, message));
    };
    let conn = Arc::clone(&flight.conn);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
        let mut phase = conn.phase.clone();
        tokio::select! {
            _ = tokio::io::copy(&mut reader, &mut writer) => {}
            () = conn.wait_cut() => {}
            _ = phase.changed() => conn.cut(Cut::Rst),
        }
    });
    let mut answer = Response::new(Content::Empty);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(answer)
}
