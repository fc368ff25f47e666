//! Answers of the gateway's own, in the shape that OpenAI's clients turn into their exceptions.

use bytes::Bytes;
use http::StatusCode;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::json;

use crate::forwarded::X_REQUEST_ID;
use crate::http1::{Rejection, put_field};
use crate::journey::Failure;

const JSON: &str = "application/json";

impl From<Rejection> for Failure {
    fn from(refusal: Rejection) -> Self {
        Self::new(refusal.status, refusal.message)
    }
}

fn kind(status: u16) -> &'static str {
    match status {
        400..=428 | 431 => "invalid_request_error",
        429 => "rate_limit_error",
        _ => "upstream_error",
    }
}

pub(crate) fn body(failure: &Failure) -> Bytes {
    let error = json!({ "error": {
        "message": failure.message, "type": kind(failure.status), "param": null, "code": failure.status,
    } });
    error.to_string().into()
}

/// The head for an HTTP/1 client, whose connection is closed afterwards.
pub(crate) fn http1_head(failure: &Failure, request_id: &str, length: usize, date: &str) -> Vec<u8> {
    let reason = StatusCode::from_u16(failure.status).ok().and_then(|status| status.canonical_reason());
    let mut out = format!("HTTP/1.1 {} {}\r\n", failure.status, reason.unwrap_or_default()).into_bytes();
    fields(failure, request_id, length, |name, value| {
        put_field(&mut out, name.as_bytes(), value.as_bytes());
        Ok(())
    })
    .unwrap_or_default();
    put_field(&mut out, b"Date", date.as_bytes());
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    out
}

fn fields(
    failure: &Failure,
    request_id: &str,
    length: usize,
    mut put: impl FnMut(&'static str, &str) -> Result<()>,
) -> Result<()> {
    put("Content-Type", JSON)?;
    put("Content-Length", &length.to_string())?;
    if !request_id.is_empty() {
        put(X_REQUEST_ID, request_id)?;
    }
    failure.retry_after.map_or(Ok(()), |seconds| put("Retry-After", &seconds.to_string()))
}

/// Sends a failure through a session, and closes the connection afterwards.
pub(crate) async fn send(session: &mut Session, failure: &Failure, request_id: &str) -> Result<()> {
    let body = body(failure);
    let mut header = ResponseHeader::build(failure.status, Some(5))?;
    fields(failure, request_id, body.len(), |name, value| header.insert_header(name, value))?;
    session.as_downstream_mut().write_error_response(header, body).await
}
