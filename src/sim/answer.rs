//! Building the simulated node's answers: a status with a body, or silence for ever.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::body::Content;
use super::wire::{Conn, Cut};

/// An answer not yet tied to the flight of its request.
pub(super) type Answer = Response<Content>;

/// A JSON answer with this status.
pub(super) fn error_answer(code: u16, body: String) -> Answer {
    let mut answer = json_answer(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// 200 with JSON.
pub(super) fn json_answer(body: String) -> Answer {
    typed_answer("application/json", body)
}

/// 200 with a body of the given type.
pub(super) fn typed_answer(content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Content::Whole(Bytes::from(body)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Waits for ever; the connection's task ends it.
pub(super) async fn never<T>() -> T {
    std::future::pending().await
}

/// Cuts the connection that this request came on.
pub(super) async fn cut<T>(conn: &Conn, how: Cut) -> T {
    conn.cut(how);
    never().await
}
