//! The end of a session whose client is still sending.

use http::StatusCode;
use pingora_proxy::Session;

use super::lent::Connection;

/// To be called last, when the answer has been written.
pub(crate) async fn linger(session: &mut Session) {
    let status = session.response_written().map(|head| head.status);
    let answered = status.is_some_and(|status| status != StatusCode::SWITCHING_PROTOCOLS);
    let client = session.as_downstream_mut();
    if !answered || client.as_http1().is_none() || client.is_body_done() {
        return;
    }
    client.set_keepalive(None);
    if let Some(wire) = Connection::of(client).and_then(Connection::take) {
        wire.linger().await;
    }
}
