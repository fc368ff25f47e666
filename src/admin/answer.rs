//! An answer of the admin address.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::metrics::Format;
use crate::status;

const JSON: &str = "application/json";
const CSV: &str = "text/csv; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    kind: &'static str,
    pub body: Bytes,
    /// The methods that would do.
    pub allow: Option<&'static str>,
    /// Fields besides.
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, kind, body: body.into(), allow: None, fields: Vec::new() }
    }

    pub(super) fn plain(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, PLAIN, body.into())
    }

    pub(super) fn json(body: String) -> Self {
        Self::new(StatusCode::OK, JSON, body)
    }

    pub(super) fn csv(body: String) -> Self {
        Self::new(StatusCode::OK, CSV, body)
    }

    pub(super) fn html(body: Bytes, fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { fields, ..Self::new(StatusCode::OK, HTML, body) }
    }

    pub(super) fn metrics(body: String, format: Format) -> Self {
        Self::new(StatusCode::OK, format.content_type(), body)
    }

    /// An error in JSON.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        Self::new(status, JSON, status::error_json(message))
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn with_field(mut self, field: (HeaderName, HeaderValue)) -> Self {
        self.fields.push(field);
        self
    }

    pub(super) fn allowing(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    pub(super) fn into_response(self, method: &Method) -> Response<Bytes> {
        let body = if *method == Method::HEAD { Bytes::new() } else { self.body };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let length = response.body().len().into();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        headers.extend(self.fields);
        response
    }
}
