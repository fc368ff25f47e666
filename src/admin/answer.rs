//! An answer of the admin address.

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::metrics::Format;
use crate::status;

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    kind: &'static str,
    pub body: String,
    /// The methods that would do.
    pub allow: Option<&'static str>,
}

impl Answer {
    pub(super) fn plain(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, kind: PLAIN, body: body.into(), allow: None }
    }

    pub(super) fn json(body: String) -> Self {
        Self { status: StatusCode::OK, kind: JSON, body, allow: None }
    }

    pub(super) fn metrics(body: String, format: Format) -> Self {
        Self { status: StatusCode::OK, kind: format.content_type(), body, allow: None }
    }

    /// An error in JSON.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        Self { status, kind: JSON, body: status::error_json(message), allow: None }
    }

    pub(super) fn allowing(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    pub(super) fn into_response(self, method: &Method) -> Response<Vec<u8>> {
        let body = if *method == Method::HEAD { Vec::new() } else { self.body.into_bytes() };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let length = response.body().len().into();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
