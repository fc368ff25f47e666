//! The body of a request, read whole so that it can be sent again.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Version};
use pingora::ErrorType;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::gate::is_malformed;
use super::lent::Connection;
use crate::http1::{Joined, Rejection};
use crate::journey::Failure;
use crate::live::{Arriving, Growth, Live, Room, Share};

/// The answer to a body above `client.max_body`.
pub(crate) const TOO_LARGE: Rejection =
    Rejection { status: 413, message: "the request body is larger than client.max_body" };
/// The answer to a body that stops coming.
pub(crate) const TOO_SLOW: Rejection =
    Rejection { status: 408, message: "the request body did not come within client.body_timeout" };
/// The answer to a body that comes in driblets.
pub(crate) const BELOW_MIN_RATE: Rejection =
    Rejection { status: 408, message: "the request body came more slowly than client.body_min_rate allows" };
/// The answer to a body that has stalled while others needed its room.
const STALLED: Rejection = Rejection {
    status: 408,
    message: "the request body came slowly while the memory for bodies (retry.body_total) was used up",
};
/// The answer to a body whose end could be read in two ways.
pub(crate) const UNFRAMED: Rejection =
    Rejection { status: 400, message: "the request body is not framed as HTTP demands" };

/// Memory that is set aside before the first byte, whatever length is announced.
const FIRST_CAPACITY: u64 = 256 * 1024;

/// The limits for reading a body: bytes read, bytes kept, and the client's silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `client.max_body`.
    pub max: u64,
    /// `retry.body_limit`.
    pub keep: u64,
    /// `retry.body_total`.
    pub keep_total: u64,
    /// `client.body_timeout`.
    pub silence: Duration,
    /// `client.body_min_rate`.
    pub min_rate: Option<u64>,
}

impl Limits {
    /// A client has used up its time. It has as long as it may be silent, and then what its bytes take at the least rate.
    pub(crate) fn is_too_slow(&self, received: u64, elapsed: Duration) -> bool {
        let Some(late) = elapsed.checked_sub(self.silence) else { return false };
        self.min_rate.is_some_and(|rate| received < rate.saturating_mul(late.as_secs()))
    }
}

/// The body, or as much of it as may be kept.
#[derive(Debug)]
pub(crate) enum Read {
    Kept {
        body: Bytes,
        share: Option<Share>,
    },
    /// Too large, or too much is kept already.
    Unkept(Unkept),
}

/// A body that is not kept: the rest of it is still to come.
#[derive(Debug)]
pub(crate) struct Unkept {
    pub start: Bytes,
    pub share: Option<Share>,
    /// It is above `retry.body_limit`; else `retry.body_total` is used up.
    pub too_large: bool,
    /// The length that its head announces; else it is chunked, or of HTTP/2.
    pub announced: Option<u64>,
    /// The time that the start took.
    pub elapsed: Duration,
    pub limits: Limits,
}

impl Unkept {
    /// Takes out what the session has read and not given out. Over HTTP/1 the rest comes without it.
    pub(crate) async fn gather(&mut self, session: &mut Session) -> Result<(), BodyError> {
        let Some(slot) = Connection::of(session.as_downstream()) else { return Ok(()) };
        slot.hold();
        let mut start = BytesMut::from(std::mem::take(&mut self.start));
        loop {
            let mut reading = pin!(session.as_downstream_mut().read_request_body());
            match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
                Poll::Ready(Ok(Some(piece))) => start.extend_from_slice(&piece),
                Poll::Ready(Ok(None)) | Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(read_error(&error)),
            }
        }
        self.start = start.freeze();
        if self.start.len() as u64 > self.limits.max {
            return Err(BodyError::Failed(TOO_LARGE.into()));
        }
        Ok(())
    }
}

/// The reason for which it could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    ClientGone,
    Failed(Failure),
}

/// The length that a header announces.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Asks for the body of a client that waits to be asked (curl does, above 1 MB). The node is not: what it would say
/// to the client has been said.
pub(crate) async fn invite(session: &mut Session) -> Result<(), BodyError> {
    let expect = session.req_header().headers.get(EXPECT);
    let waits = session.req_header().version != Version::HTTP_10
        && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !waits || session.as_downstream_mut().is_body_empty() {
        return Ok(());
    }
    let client = session.as_downstream_mut();
    // Pingora takes it for a response that comes before the request's end, and would close the connection after it
    let keepalive = client.get_keepalive();
    client.write_continue_response().await.map_err(|_| BodyError::ClientGone)?;
    client.set_keepalive(keepalive);
    Ok(())
}

/// Reads the whole body of this client, unless it is too large to be kept.
pub(crate) async fn read(
    session: &mut Session,
    limits: Limits,
    live: &Live,
    client: &str,
) -> Result<Read, BodyError> {
    if session.as_downstream_mut().is_body_empty() {
        return Ok(Read::Kept { body: Bytes::new(), share: None });
    }
    let announced = content_length(&session.req_header().headers);
    let too_large = announced.is_some_and(|length| length > limits.keep);
    // what is announced takes up nothing yet: clients that never send it would use up all there is
    let share = if too_large { None } else { live.kept_bytes.try_add(0, limits.keep_total) };
    let Some(mut share) = share else {
        let (start, elapsed) = (Bytes::new(), Duration::ZERO);
        return Ok(Read::Unkept(Unkept { start, share: None, too_large, announced, elapsed, limits }));
    };
    let first = next(session, limits.silence).await?.unwrap_or_default();
    if first.len() as u64 > limits.max {
        return Err(BodyError::Failed(TOO_LARGE.into()));
    }
    if session.as_downstream_mut().is_body_done() {
        // most bodies come at once
        share.grow(first.len() as u64, limits.keep_total);
        return Ok(Read::Kept { body: first, share: Some(share) });
    }
    let expected = announced.unwrap_or(0).min(FIRST_CAPACITY);
    let body = Joined::expecting(usize::try_from(expected).unwrap_or(0));
    let client = client.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let arriving = live.arriving.begin(client, share, Instant::now());
    collect(session, limits, arriving, body, first).await
}

async fn collect(
    session: &mut Session,
    limits: Limits,
    arriving: Arriving,
    mut body: Joined,
    mut chunk: Bytes,
) -> Result<Read, BodyError> {
    let (began, room) = (Instant::now(), Room::of(limits.keep_total, limits.keep));
    loop {
        let size = (body.len() + chunk.len()) as u64;
        if size > limits.max {
            return Err(BodyError::Failed(TOO_LARGE.into()));
        }
        let now = Instant::now();
        let growth = arriving.grow(chunk.len() as u64, room, now);
        body.push(chunk);
        // a body that has come to its end is kept after all: dropping it would gain nothing
        if !session.as_downstream_mut().is_body_done() {
            if growth == Growth::Lost {
                return Err(BodyError::Failed(STALLED.into()));
            }
            if growth == Growth::Full || size > limits.keep {
                let announced = content_length(&session.req_header().headers);
                let (too_large, share) = (size > limits.keep, arriving.finish());
                let (start, elapsed) = (body.into_bytes(), began.elapsed());
                return Ok(Read::Unkept(Unkept { start, share, too_large, announced, elapsed, limits }));
            }
            if limits.is_too_slow(size, now.duration_since(began)) {
                return Err(BodyError::Failed(BELOW_MIN_RATE.into()));
            }
        }
        let read = tokio::select! {
            biased;
            read = next(session, limits.silence) => read?,
            () = poll_fn(|cx| arriving.poll_lost(cx)) => return Err(BodyError::Failed(STALLED.into())),
        };
        let Some(more) = read else { break };
        chunk = more;
    }
    Ok(Read::Kept { body: body.into_bytes(), share: arriving.finish() })
}

/// The next piece. Over HTTP/1 Pingora limits each read by itself; over HTTP/2 a piece may be empty, which says nothing.
async fn next(session: &mut Session, silence: Duration) -> Result<Option<Bytes>, BodyError> {
    let client = session.as_downstream_mut();
    let has_limit = !client.is_http2();
    let read = async {
        loop {
            match client.read_request_body().await {
                Ok(Some(piece)) if piece.is_empty() && !has_limit => {}
                read => return read,
            }
        }
    };
    let read = if has_limit { Ok(read.await) } else { timeout(silence, read).await };
    let read = read.map_err(|_| BodyError::Failed(TOO_SLOW.into()))?;
    read.map_err(|error| read_error(&error))
}

fn read_error(error: &pingora::Error) -> BodyError {
    match error.etype() {
        ErrorType::ReadTimedout => BodyError::Failed(TOO_SLOW.into()),
        _ if is_malformed(error) => BodyError::Failed(UNFRAMED.into()),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error => BodyError::ClientGone,
        _ => BodyError::Failed(UNFRAMED.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_grace_and_then_a_least_rate() {
        let limits =
            Limits { max: 1, keep: 1, keep_total: 1, silence: Duration::from_mins(1), min_rate: Some(1024) };
        for (received, seconds, is_too_slow) in [
            (0, 60, false),
            (1, 61, true),
            (1023, 61, true),
            (1024, 61, false),
            (1024 * 1024, 60 + 1024, false),
            (1024 * 1024, 60 + 1025, true),
            (u64::MAX, u64::MAX, false),
        ] {
            let elapsed = Duration::from_secs(seconds);
            assert_eq!(limits.is_too_slow(received, elapsed), is_too_slow, "{received} in {seconds} s");
            assert!(!Limits { min_rate: None, ..limits }.is_too_slow(received, elapsed));
        }
    }
}
