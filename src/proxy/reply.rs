//! Answers of the gateway's own, in the shape that OpenAI's clients turn into their exceptions.

use bytes::Bytes;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::json;

use super::framing::Rejection;
use super::headers::X_REQUEST_ID;

/// Why a request ends without a node's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u16,
    pub message: String,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u64>,
}

impl Failure {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    fn kind(&self) -> &'static str {
        match self.status {
            400..=428 | 431 => "invalid_request_error",
            429 => "rate_limit_error",
            _ => "upstream_error",
        }
    }

    fn body(&self) -> Bytes {
        let error = json!({ "error": {
            "message": self.message, "type": self.kind(), "param": null, "code": self.status,
        } });
        error.to_string().into()
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.status, rejection.message)
    }
}

/// Sends a failure to the client and closes the connection afterwards.
pub async fn send(session: &mut Session, failure: &Failure, request_id: &str) -> Result<()> {
    let body = failure.body();
    let mut header = ResponseHeader::build(failure.status, Some(5))?;
    header.insert_header("Content-Type", "application/json")?;
    header.insert_header("Content-Length", body.len())?;
    if !request_id.is_empty() {
        header.insert_header(X_REQUEST_ID, request_id)?;
    }
    if let Some(seconds) = failure.retry_after {
        header.insert_header("Retry-After", seconds)?;
    }
    session.as_downstream_mut().write_error_response(header, body).await
}
