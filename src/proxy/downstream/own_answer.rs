//! A good answer of the gateway's own.

use bytes::Bytes;
use http::{Method, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use crate::forwarded::X_REQUEST_ID;

pub(crate) const JSON: &str = "application/json";
pub(crate) const BYTES: &str = "application/octet-stream";

/// Sends text through a session, whose connection stays open; its type comes first.
pub(crate) async fn send(session: &mut Session, request_id: &str, body: (&str, String)) -> Result<()> {
    let (kind, body) = body;
    let mut head = ResponseHeader::build(200, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(X_REQUEST_ID, request_id)?;
    let request = session.req_header();
    if request.headers.contains_key(header::ORIGIN) {
        // a page of another origin, as it may read nodes' answers and our errors
        head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")?;
    }
    let is_head = request.method == Method::HEAD;
    session.write_response_header(Box::new(head), is_head).await?;
    if is_head { Ok(()) } else { session.write_response_body(Some(Bytes::from(body)), true).await }
}
