//! HTTP clients for the tests: a kept connection over HTTP/1.1 or h2c, and requests to send on it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::transport::{Connection, Transport};
use super::{Gateway, LIMIT, within};

/// Size of the pieces of a chunked body in bytes, chosen to divide no other size.
const PIECE: usize = 30_011;

/// A request body: whole with a length, in chunks, or without an end.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<Bytes>,
    length: Option<u64>,
    stops: bool,
    /// The pieces that have gone to the connection.
    taken: Arc<AtomicUsize>,
}

impl Outgoing {
    pub(crate) fn sized(body: Bytes) -> Outgoing {
        let length = Some(body.len() as u64);
        let pieces = if body.is_empty() { VecDeque::new() } else { [body].into() };
        Outgoing { pieces, length, stops: false, taken: Arc::default() }
    }

    pub(crate) fn stopping_after(piece: Bytes) -> Outgoing {
        Outgoing { pieces: [piece].into(), length: None, stops: true, taken: Arc::default() }
    }

    pub(crate) fn chunked(mut body: Bytes) -> Outgoing {
        let mut pieces = VecDeque::new();
        while !body.is_empty() {
            pieces.push_back(body.split_to(body.len().min(PIECE)));
        }
        Outgoing { pieces, length: None, stops: false, taken: Arc::default() }
    }

    pub(crate) fn taken(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.taken)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Outgoing { pieces, stops: true, .. } if pieces.is_empty() => Poll::Pending,
            Outgoing { pieces, taken, .. } => {
                taken.fetch_add(1, Ordering::AcqRel);
                Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// A response with its complete body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// One connection.
pub(crate) enum Client {
    H1(http1::SendRequest<Outgoing>),
    H2(http2::SendRequest<Outgoing>),
}

impl Client {
    pub(crate) async fn h1(gateway: &Gateway) -> Client {
        let is_h2 = Transport::of_run() == Transport::H2;
        Client::to(gateway.address, if is_h2 { Version::HTTP_2 } else { Version::HTTP_11 }).await
    }

    pub(crate) async fn h2(gateway: &Gateway) -> Client {
        Client::to(gateway.address, Version::HTTP_2).await
    }

    pub(crate) async fn over(gateway: &Gateway, version: Version) -> Client {
        Client::to(gateway.address, version).await
    }

    pub(crate) async fn to(address: SocketAddr, version: Version) -> Client {
        let is_h2 = version == Version::HTTP_2;
        let io = TokioIo::new(Connection::to(address, is_h2).await.unwrap());
        if is_h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Client::H2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Client::H1(sender)
        }
    }

    /// Sends a request and returns the response once its head has arrived.
    pub(crate) async fn begin(&mut self, request: Request<Outgoing>) -> hyper::Result<Response<Incoming>> {
        within(LIMIT, "a response begins", self.begin_patiently(request)).await
    }

    /// Like `begin`, for a request that may stay open until the test ends.
    pub(crate) async fn begin_patiently(
        &mut self,
        mut request: Request<Outgoing>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Client::H1(sender) => {
                let path = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
                let host = request.uri().authority().unwrap().as_str().parse().unwrap();
                request.headers_mut().entry("host").or_insert(host);
                *request.uri_mut() = path;
                sender.ready().await?;
                sender.send_request(request).await
            }
            Client::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a request and returns the complete response.
    pub(crate) async fn try_ask(&mut self, request: Request<Outgoing>) -> hyper::Result<Answer> {
        let (head, body) = self.begin(request).await?.into_parts();
        let body = within(LIMIT, "a response ends", body.collect()).await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    pub(crate) async fn ask(&mut self, request: Request<Outgoing>) -> Answer {
        self.try_ask(request).await.unwrap_or_else(|error| panic!("{error:?}"))
    }
}

/// Sends a request on a connection of its own.
pub(crate) async fn ask(gateway: &Gateway, request: Request<Outgoing>) -> Answer {
    Client::h1(gateway).await.ask(request).await
}

pub(crate) fn get(gateway: &Gateway, path: &str) -> Request<Outgoing> {
    Request::get(gateway.url(path)).body(Outgoing::default()).map(sized_nothing).unwrap()
}

fn sized_nothing(request: Request<Outgoing>) -> Request<Outgoing> {
    request.map(|_| Outgoing::sized(Bytes::new()))
}

pub(crate) fn post(gateway: &Gateway, path: &str, body: impl Into<Bytes>) -> Request<Outgoing> {
    Request::post(gateway.url(path)).body(Outgoing::sized(body.into())).unwrap()
}

/// A chat request for so many tokens.
pub(crate) fn chat(gateway: &Gateway, tokens: u32, stream: bool) -> Request<Outgoing> {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"Tell me of the sea"}}],"max_tokens":{tokens},"stream":{stream}}}"#
    );
    let mut request = post(gateway, "/v1/chat/completions", body);
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request
}
