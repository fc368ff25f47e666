//! One question of the gateway's own to a node, on a connection of its own, in the node's version of HTTP and with its key.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::{HttpVersion, NodeAddress};
use crate::fleet::NodeId;
use crate::http1::{Body, parse_response, put_field};
use crate::tls::nodes::{NodeStream, Opening, connect};

const AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));

/// A node as it is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub node: &'a NodeId,
    pub address: SocketAddr,
    pub version: HttpVersion,
}

impl Asked<'_> {
    /// It accepts connections.
    pub(super) async fn accepts(self, limit: Duration) -> io::Result<()> {
        connect(self.node, self.address, Opening { limit, patience: limit }).await.map(drop)
    }

    /// Status and body of the answer to GET. The body is read up to `body_max` bytes, head included: an error beyond; for 0 it is
    /// left out.
    pub(super) async fn get(self, path: &str, limit: Duration, body_max: usize) -> io::Result<(u16, Bytes)> {
        let stream = connect(self.node, self.address, Opening { limit, patience: limit }).await?;
        match self.version {
            HttpVersion::H1 => self.http1(stream, path, body_max).await,
            HttpVersion::H2 => self.http2(stream, path, body_max).await,
        }
    }

    fn key(&self) -> Option<&HeaderValue> {
        self.node.access.authorization.as_ref().map(|key| key.value())
    }

    fn host(&self) -> String {
        self.node.address.host_port().map_or_else(|| "localhost".to_owned(), ToString::to_string)
    }

    async fn http1(self, mut stream: NodeStream, path: &str, body_max: usize) -> io::Result<(u16, Bytes)> {
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {AGENT}\r\nAccept: application/json\r\nConnection: close\r\n",
            self.host()
        )
        .into_bytes();
        if let Some(key) = self.key() {
            put_field(&mut head, AUTHORIZATION.as_str().as_bytes(), key.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        stream.write_all(&head).await?;
        stream.flush().await?;
        let max = body_max.max(HEAD_MAX);
        let mut read = BytesMut::new();
        let (status, mut unread, mut body) = loop {
            more(&mut stream, &mut read, max).await?;
            let mut unread = read.split().freeze();
            match parse_response(&mut unread).map_err(|_| no_http())? {
                Some(head) if head.status < 200 => read = unread.into(),
                Some(head) => {
                    let framing = head.framing(false).map_err(|_| no_http())?;
                    break (head.status, unread, framing.body);
                }
                None => read = unread.into(),
            }
        };
        let mut whole = BytesMut::new();
        if body_max == 0 {
            return Ok((status, Bytes::new()));
        }
        loop {
            whole.extend_from_slice(&body.take(&mut unread).map_err(|_| no_http())?);
            if body.is_done() {
                break;
            }
            let mut next = BytesMut::from(unread);
            match more(&mut stream, &mut next, body_max.saturating_sub(whole.len())).await {
                Err(error)
                    if error.kind() == io::ErrorKind::UnexpectedEof && matches!(body, Body::UntilClose) =>
                {
                    break;
                }
                more => more?,
            }
            unread = next.freeze();
        }
        Ok((status, whole.freeze()))
    }

    async fn http2(self, stream: NodeStream, path: &str, body_max: usize) -> io::Result<(u16, Bytes)> {
        let scheme = if matches!(self.node.address, NodeAddress::Https(_)) { "https" } else { "http" };
        let mut request = Request::get(format!("{scheme}://{}{path}", self.host()))
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json")
            .body(())
            .map_err(io::Error::other)?;
        if let Some(key) = self.key() {
            request.headers_mut().insert(AUTHORIZATION, key.clone());
        }
        let (mut sender, connection) = h2::client::handshake(stream).await.map_err(of_h2)?;
        let asking = pin!(async move {
            poll_fn(|cx| sender.poll_ready(cx)).await.map_err(of_h2)?;
            let (response, _) = sender.send_request(request, true).map_err(of_h2)?;
            let (head, mut body) = response.await.map_err(of_h2)?.into_parts();
            let mut whole = BytesMut::new();
            while body_max > 0
                && let Some(piece) = body.data().await
            {
                let piece = piece.map_err(of_h2)?;
                if whole.len() + piece.len() > body_max {
                    return Err(too_large());
                }
                whole.extend_from_slice(&piece);
                body.flow_control().release_capacity(piece.len()).map_err(of_h2)?;
            }
            Ok((head.status.as_u16(), whole.freeze()))
        });
        tokio::select! {
            biased;
            answer = asking => answer,
            ended = connection => Err(ended.map_or_else(of_h2, |()| io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// Largest head of an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;

async fn more(stream: &mut NodeStream, read: &mut BytesMut, max: usize) -> io::Result<()> {
    match stream.read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if read.len() > max => Err(too_large()),
        _ => Ok(()),
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is too large")
}

fn no_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP/1.1")
}

/// A connection that was lost, as such; what the node says by HTTP/2 as invalid data.
fn of_h2(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}
