//! The answer to an HTTP/2 client, through Pingora's session: others share its connection.

use bytes::Bytes;
use http::Version;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;

use super::client::{Client, Presence, Sent, Start, Unwritten};
use super::own_error::{self, OwnError};
use crate::http1::HopByHop;

pub(crate) struct Http2<'a> {
    session: &'a mut Session,
    sent: Sent,
}

impl<'a> Http2<'a> {
    pub(crate) fn new(session: &'a mut Session) -> Self {
        Self { session, sent: Sent::default() }
    }

    async fn tasks(&mut self, tasks: Vec<HttpTask>, bytes: usize) -> Result<(), Unwritten> {
        self.session.write_response_tasks(tasks).await.map_err(|_| Unwritten::ClientLeft)?;
        self.sent.bytes += bytes as u64;
        Ok(())
    }
}

impl Presence for Http2<'_> {
    /// Only after the request body has been read: before, it could eat a byte of it.
    async fn gone(&mut self) {
        let _ = self.session.as_downstream_mut().read_body_or_idle(true).await;
    }
}

impl Client for Http2<'_> {
    async fn begin(&mut self, start: Start<'_>, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        let head = head(start).map_err(|_| Unwritten::Unspeakable)?;
        if start.closes {
            self.session.set_keepalive(None);
        }
        self.sent.status = Some(start.head.status);
        let (bytes, is_empty) = (chunk.len(), chunk.is_empty());
        let mut tasks = vec![HttpTask::Header(Box::new(head), ended && is_empty)];
        if !is_empty {
            tasks.push(HttpTask::Body(Some(chunk), ended));
        }
        self.tasks(tasks, bytes).await
    }

    async fn write(&mut self, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        let bytes = chunk.len();
        self.tasks(vec![HttpTask::Body(Some(chunk), ended)], bytes).await
    }

    async fn refuse(&mut self, error: &OwnError<'_>) -> Result<(), Unwritten> {
        self.sent.status = Some(error.failure.status);
        let sent = own_error::send(self.session, error).await;
        self.sent.bytes = self.session.body_bytes_sent() as u64;
        sent.map_err(|_| Unwritten::ClientLeft)
    }

    fn sent(&self) -> Sent {
        self.sent
    }
}

/// The node's head, without what concerned its connection.
fn head(Start { head, ours, .. }: Start<'_>) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build_no_case(head.status, Some(head.fields.len() + ours.len()))?;
    header.set_version(Version::HTTP_11);
    let hop_by_hop = HopByHop::of(head.fields.iter());
    for (name, value) in head.fields.iter() {
        // a client that believed a length here would wait for a body that never comes (RFC 9110 section 8.6)
        let is_false = head.status == 204 && name.eq_ignore_ascii_case(b"content-length");
        if !is_false && !hop_by_hop.has(name) {
            let name = http::HeaderName::from_bytes(name).map_err(|_| invalid())?;
            let value = http::HeaderValue::from_bytes(value).map_err(|_| invalid())?;
            header.append_header(name, value)?;
        }
    }
    for (name, value) in ours {
        header
            .insert_header(http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, *value)?;
    }
    Ok(header)
}

fn invalid() -> Box<pingora::Error> {
    pingora::Error::new(pingora::ErrorType::InvalidHTTPHeader)
}
