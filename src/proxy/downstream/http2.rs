//! The answer to an HTTP/2 client, through Pingora's session: others share its connection.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;

use super::body::BodyError;
use super::client::{Client, Presence, Sent, Start, Unwritten};
use super::inlet::{Inlet, Source};
use super::own_error::{self, OwnError};
use crate::http1::HopByHop;

pub(crate) struct Http2<'a> {
    session: &'a mut Session,
    sent: Sent,
    /// The body that it is sending, if that is not kept.
    inlet: Option<Box<Inlet>>,
}

impl<'a> Http2<'a> {
    pub(crate) fn new(session: &'a mut Session, inlet: Option<Box<Inlet>>) -> Self {
        Self { session, sent: Sent::default(), inlet }
    }

    async fn tasks(&mut self, tasks: Vec<HttpTask>, bytes: usize) -> Result<(), Unwritten> {
        self.session.write_response_tasks(tasks).await.map_err(|_| Unwritten::ClientLeft)?;
        self.sent.bytes += bytes as u64;
        Ok(())
    }
}

impl Source for Session {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        // nothing is lost with this future: it takes a piece where it is ready
        let reading = pin!(self.as_downstream_mut().read_request_body());
        reading.poll(cx).map_err(|_| BodyError::ClientGone)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(self.as_downstream_mut().read_body_or_idle(true)).poll(cx).map(drop)
    }
}

impl Presence for Http2<'_> {
    async fn gone(&mut self) {
        let Self { session, inlet, .. } = self;
        poll_fn(|cx| match inlet {
            None => session.poll_gone(cx),
            Some(inlet) => inlet.poll(*session, cx),
        })
        .await;
    }
}

impl Client for Http2<'_> {
    async fn begin(&mut self, start: Start<'_>, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        let head = head(start).map_err(|_| Unwritten::Unspeakable)?;
        if start.closes {
            self.session.set_keepalive(None);
        }
        let (bytes, is_empty) = (chunk.len(), chunk.is_empty());
        let mut tasks = vec![HttpTask::Header(Box::new(head), ended && is_empty)];
        if !is_empty {
            tasks.push(HttpTask::Body(Some(chunk), ended));
        }
        self.tasks(tasks, bytes).await?;
        self.sent.status = Some(start.head.status);
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        let bytes = chunk.len();
        self.tasks(vec![HttpTask::Body(Some(chunk), ended)], bytes).await
    }

    async fn refuse(&mut self, error: &OwnError<'_>) -> Result<(), Unwritten> {
        own_error::send(self.session, error, false).await.map_err(|_| Unwritten::ClientLeft)?;
        let bytes = self.session.body_bytes_sent() as u64;
        self.sent = Sent { status: Some(error.failure.status), bytes };
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::parse_response;

    /// The head can be expressed in HTTP/2; `None`: it is no head at all.
    fn can_be_said(wire: &[u8]) -> Option<bool> {
        let parsed = parse_response(&mut Bytes::copy_from_slice(wire)).ok()??;
        Some(head(Start { head: &parsed, ours: &[("x-evenkeel-node", "a")], closes: false }).is_ok())
    }

    /// So [`Unwritten::Unspeakable`] never comes up.
    #[test]
    fn all_that_is_taken_from_a_node_can_be_said() {
        let mut heads = 0;
        for byte in 0..=255 {
            let name = [b"HTTP/1.1 200 OK\r\nX", &[byte][..], b"x: y\r\n\r\n"].concat();
            let value = [b"HTTP/1.1 200 OK\r\nX: y", &[byte][..], b"y\r\n\r\n"].concat();
            let reason = [b"HTTP/1.1 200 ", &[byte][..], b"\r\n\r\n"].concat();
            for wire in [name, value, reason] {
                let can = can_be_said(&wire);
                heads += usize::from(can.is_some());
                assert_ne!(can, Some(false), "{}", wire.escape_ascii());
            }
        }
        assert!(heads > 300, "{heads} of them are heads");
        for status in 0..=999 {
            assert_ne!(
                can_be_said(format!("HTTP/1.1 {status:03} X\r\n\r\n").as_bytes()),
                Some(false),
                "{status}"
            );
        }
        for (length, can) in [(65_535, Some(true)), (65_536, None)] {
            let wire = format!("HTTP/1.1 200 OK\r\n{}: y\r\n\r\n", "x".repeat(length));
            assert_eq!(can_be_said(wire.as_bytes()), can, "a name of {length} bytes");
        }
    }
}
