//! The admin application on Pingora: whole answers, and the live events, whose answer has no end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::answer::Answer;
use super::app::{Admin, LIVE};
use super::feed::{READERS_MAX, Reader, event};
use super::{origin, register};

/// The time that a connection may stay open between two requests.
const KEEPALIVE: u64 = 60;
/// The longest time that a node's few words may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// The most bytes that are written under one limit.
const PIECE: usize = 32 * 1024;
/// The time that a page may take to read a piece of an event.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                log::debug!("admin: a request that cannot be read: {error}");
                return None;
            }
        }
        let is_stopping = *shutdown.borrow();
        session.set_keepalive((!is_stopping).then_some(KEEPALIVE));
        let request = session.req_header();
        let (method, uri) = (&request.method, &request.uri);
        if let Some(refused) = self.refusal(method, uri, &request.headers) {
            let refused = refused.into_response(method);
            return send(session, refused).await;
        }
        if *method == Method::GET && uri.path() == LIVE && self.serves(LIVE) {
            let refused = match origin::read_refusal(&self.live, uri, &request.headers) {
                Some(why) => Answer::error(StatusCode::FORBIDDEN, why),
                None => match self.feed.open() {
                    Some(reader) => return follow(self, session, reader, shutdown.clone()).await,
                    None => too_many(),
                },
            };
            return send(session, refused.into_response(&Method::GET)).await;
        }
        if register::is_it(method, uri.path()) && self.serves(register::PATH) {
            let answer = self.registration(&mut session).await;
            let method = &session.req_header().method;
            let answer = answer.into_response(method);
            return send(session, answer).await;
        }
        let response = self.answer(method, uri, &request.headers).into_response(method);
        send(session, response).await
    }
}

impl Admin {
    async fn registration(&self, session: &mut ServerSession) -> Answer {
        let body = match tokio::time::timeout(BODY_WITHIN, body(session)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) => return refused,
            Err(_) => return Answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let request = session.req_header();
        let (method, uri, headers) = (&request.method, &request.uri, &request.headers);
        register::answer(&self.live, register::Asked { method, uri, headers, peer, body: &body }).await
    }
}

/// A body of text that is not too long.
async fn body(session: &mut ServerSession) -> Result<String, Answer> {
    let bad = |status, why: &str| Answer::error(status, why);
    let mut bytes = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(piece)) if bytes.len() + piece.len() <= register::BODY_MAX => {
                bytes.extend_from_slice(&piece)
            }
            Ok(Some(_)) => {
                session.set_keepalive(None);
                return Err(bad(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 16KiB"));
            }
            Ok(None) => break,
            Err(_) => {
                session.set_keepalive(None);
                return Err(bad(StatusCode::BAD_REQUEST, "the body broke off"));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| bad(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

fn too_many() -> Answer {
    let why = format!("{READERS_MAX} pages are open already, the most that are served: close one");
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, &why)
}

async fn send(mut session: ServerSession, response: Response<Bytes>) -> Option<ReusedHttpStream> {
    let (parts, body) = response.into_parts();
    let written = async {
        session.write_response_header(Box::new(ResponseHeader::from(parts))).await?;
        if !body.is_empty() {
            session.write_response_body(body, true).await?;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await?;
        pingora::Result::Ok(stream.map(|stream| ReusedHttpStream::from_reusable_stream(stream, settings)))
    };
    written.await.unwrap_or_else(|error: Box<pingora::Error>| {
        log::debug!("admin: an answer that cannot be sent: {error}");
        None
    })
}

/// Sends events until the page is closed, is too slow or may not look any more. One that stops goes on as long as it has requests: a page would not get
/// another connection from it.
async fn follow(
    admin: &Admin,
    mut session: ServerSession,
    mut reader: Reader,
    mut shutdown: ShutdownWatch,
) -> Option<ReusedHttpStream> {
    session.set_keepalive(None);
    let mut response = Response::new(());
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, header::HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "text/event-stream");
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if session.req_header().version == http::Version::HTTP_11 {
        set(header::TRANSFER_ENCODING, "chunked");
    }
    let (parts, ()) = response.into_parts();
    session.write_response_header(Box::new(ResponseHeader::from(parts))).await.ok()?;
    let mut next = std::mem::take(&mut reader.whole);
    let mut stops = false;
    while write(&mut session, next).await {
        let asked = session.req_header();
        if admin.refusal(&asked.method, &asked.uri, &asked.headers).is_some() {
            break;
        }
        next = tokio::select! {
            patch = reader.patches.recv() => match patch {
                Ok(patch) => patch,
                // it lacks some that have been dropped
                Err(_) => break,
            },
            _ = shutdown.changed(), if !stops => {
                stops = true;
                event("stopping", "{}")
            }
        };
    }
    // the reader may go before the session does, which waits for nobody
    drop(reader);
    let ended = tokio::time::timeout(WRITE_WITHIN, session.write_response_body(Bytes::new(), true));
    ended.await.ok()?.ok()?;
    None
}

/// In pieces with a limit each: the first document of a large fleet is a megabyte, and a slow link is none that has gone.
async fn write(session: &mut ServerSession, mut event: Bytes) -> bool {
    while !event.is_empty() {
        let piece = event.split_to(event.len().min(PIECE));
        let written = tokio::time::timeout(WRITE_WITHIN, session.write_response_body(piece, false));
        if !matches!(written.await, Ok(Ok(()))) {
            return false;
        }
    }
    true
}
