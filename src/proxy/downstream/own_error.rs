//! Answers of the gateway's own, in the form that the clients of a dialect turn into their exceptions.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::classify::dialect::{Dialect, Frames, OTHER, Shape};
use crate::classify::own_errors;
use crate::forwarded::X_REQUEST_ID;
use crate::http1::{Rejection, put_field};
use crate::journey::Failure;

const JSON: &str = "application/json";
/// The methods that nodes may know. Others are passed on, too.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl From<Rejection> for Failure {
    fn from(refusal: Rejection) -> Self {
        Self::new(refusal.status, refusal.message)
    }
}

/// An answer of the gateway's own, and what its form depends on of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnError<'a> {
    pub(crate) failure: &'a Failure,
    pub(crate) request_id: &'a str,
    pub(crate) form: Form,
    /// Further fields, which tell what is left to the client's key.
    pub(crate) limits: &'a [(&'static str, String)],
}

/// The form of the gateway's own errors for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) shape: Shape,
    frames: Frames,
    /// It comes from a page of another origin: without leave, a browser hides the error from the page.
    pub(crate) is_cross_origin: bool,
}

impl Form {
    /// `path`: as nodes get it.
    pub(crate) fn of(request: &RequestHeader, path: &str) -> Self {
        let Dialect { shape, frames, .. } = *Dialect::of(path).unwrap_or(&OTHER);
        Self { shape, frames, is_cross_origin: request.headers.contains_key(header::ORIGIN) }
    }
}

pub(crate) fn body(error: &OwnError<'_>) -> Bytes {
    let OwnError { failure, form, .. } = error;
    own_errors::body(form.shape, failure.status, &failure.message, &failure.about).into()
}

/// The same as an event, for a stream whose head is out.
pub(crate) fn event(error: &OwnError<'_>) -> Bytes {
    let OwnError { failure, form, .. } = error;
    own_errors::event(form.shape, form.frames, failure.status, &failure.message, &failure.about).into()
}

/// The head for an HTTP/1 client, whose connection is closed afterwards.
pub(crate) fn http1_head(error: &OwnError<'_>, length: usize, date: &str) -> Vec<u8> {
    let failure = error.failure;
    let reason = StatusCode::from_u16(failure.status).ok().and_then(|status| status.canonical_reason());
    let mut out = format!("HTTP/1.1 {} {}\r\n", failure.status, reason.unwrap_or_default()).into_bytes();
    fields(error, length, |name, value| {
        put_field(&mut out, name.as_bytes(), value.as_bytes());
        Ok(())
    })
    .unwrap_or_default();
    put_field(&mut out, b"Date", date.as_bytes());
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    out
}

fn fields(
    error: &OwnError<'_>,
    length: usize,
    mut put: impl FnMut(&'static str, &str) -> Result<()>,
) -> Result<()> {
    put("Content-Type", JSON)?;
    put("Content-Length", &length.to_string())?;
    if !error.request_id.is_empty() {
        put(X_REQUEST_ID, error.request_id)?;
    }
    if error.form.is_cross_origin {
        put("Access-Control-Allow-Origin", "*")?;
    }
    if error.failure.status == 401 {
        put("WWW-Authenticate", "Bearer")?;
    }
    error.limits.iter().try_for_each(|(name, value)| put(name, value))?;
    if error.failure.status == 405 {
        // RFC 9110 section 15.5.6: CONNECT alone is refused so
        put("Allow", ALLOWED)?;
    }
    error.failure.retry_after.map_or(Ok(()), |seconds| put("Retry-After", &seconds.to_string()))
}

/// Sends a failure through a session, and closes the connection afterwards, unless it `keeps` it.
pub(crate) async fn send(session: &mut Session, error: &OwnError<'_>, keeps: bool) -> Result<()> {
    let body = body(error);
    let mut header = ResponseHeader::build(error.failure.status, Some(6))?;
    fields(error, body.len(), |name, value| header.insert_header(name, value))?;
    if !keeps {
        return session.as_downstream_mut().write_error_response(header, body).await;
    }
    let is_head = session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(header), is_head).await?;
    if is_head { Ok(()) } else { session.write_response_body(Some(body), true).await }
}
