//! The end of a connection whose client is still sending.
//!
//! A socket that is closed with unread bytes in it resets its connection, and the reset may overtake the answer: the
//! client would see a broken pipe in place of a 413. So the gateway says that it has no more to say, and reads on for
//! a while (nginx calls it a lingering close).

use std::time::Duration;

use http::StatusCode;
use pingora_proxy::Session;
use tokio::time::timeout;

/// The longest time until the client notices.
const TIME_MAX: Duration = Duration::from_secs(5);
/// The most bytes that it may send meanwhile.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// To be called last, when the answer has been written.
pub(crate) async fn linger(session: &mut Session) {
    let status = session.response_written().map(|head| head.status);
    let answered = status.is_some_and(|status| status != StatusCode::SWITCHING_PROTOCOLS);
    let client = session.as_downstream_mut();
    if !answered || client.as_http1().is_none() || client.is_body_done() {
        return;
    }
    client.set_keepalive(None);
    client.shutdown().await;
    let drained = async {
        let mut left = BYTES_MAX;
        while let Ok(Some(chunk)) = client.read_request_body().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { break };
            left = rest;
        }
    };
    let _ = timeout(TIME_MAX, drained).await;
}
