//! Answering a request at the simulated node: chooses the endpoint by path and applies the fault that strikes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::answer::{Answer, cut, error_answer, never};
use super::api::{self, ApiError};
use super::body::{Content, SimBody};
use super::fault::{Fault, FaultKind, Shape};
use super::flight::Flight;
use super::shared::{Shared, State};
use super::wire::{Conn, Cut};
use super::{control, echo};

/// The header that asks for a fault, in the form that `Fault` parses.
const FAULT_HEADER: &str = "x-sim-fault";

pub(super) async fn serve(
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    request: Request<Incoming>,
) -> Response<SimBody> {
    let path = request.uri().path();
    let is_control = control::is_control(path) || control::is_background(&request);
    if !is_control && conn.is_reused() && shared.faults.strike(true).is_some() {
        conn.cut(Cut::Fin);
        return never().await;
    }
    let flight = Flight::new(Arc::clone(&shared), conn, !is_control);
    let answer = if is_control {
        control::answer(&shared, request).await
    } else if *shared.state.borrow() == State::Draining {
        Err(ApiError::draining())
    } else if *shared.state.borrow() == State::Loading {
        // llama.cpp's body, word for word.
        Ok(error_answer(
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#.into(),
        ))
    } else {
        model_request(&flight, request).await
    };
    let mut answer = answer.unwrap_or_else(ApiError::into_answer);
    answer.headers_mut().insert("x-sim-node", shared.name_header.clone());
    answer.map(|content| SimBody::new(content, flight))
}

/// Answers a request that faults can strike.
async fn model_request(flight: &Flight, mut request: Request<Incoming>) -> Result<Answer, ApiError> {
    let shared = &flight.shared;
    let fault = match header_fault(shared, &request)? {
        Some(fault) => Some(fault),
        None => shared.faults.strike(false),
    };
    let upgrade = echo::wants_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    if fault.is_none() && parts.uri.path() == "/echo-stream" {
        let entry = shared.options.record.then(|| Box::new(shared.record.begin(&parts)));
        return Ok(Response::new(Content::Echo(body, entry)));
    }
    let body = read_body(shared, &parts, body).await?;
    if let Some(answer) = fail_at_head(flight, fault.as_ref()).await {
        return Ok(answer);
    }
    match (&parts.method, parts.uri.path()) {
        (&Method::GET | &Method::HEAD, "/v1/models") => Ok(api::models(&shared.options.model)),
        (_, "/echo" | "/echo-stream") => Ok(Response::new(Content::Whole(body))),
        (_, "/echo-headers") => Ok(echo::headers(&parts)),
        (_, "/ws") => echo::upgrade(flight, upgrade),
        (method, path) => match api::speech_of(path, shared.options.engine, &body) {
            Some(speech) if method == Method::POST => Ok(api::generate(flight, speech, &body, fault).await),
            None if path != "/v1/models" => {
                Err(ApiError::new(StatusCode::NOT_FOUND, format!("Not Found: {path}")))
            }
            _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")),
        },
    }
}

fn header_fault(shared: &Shared, request: &Request<Incoming>) -> Result<Option<FaultKind>, ApiError> {
    match request.headers().get(FAULT_HEADER) {
        Some(value) if shared.options.allow_header_faults => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let fault: Fault =
                text.parse().map_err(|error| ApiError::bad(format!("{FAULT_HEADER}: {error}")))?;
            Ok(Some(fault.kind))
        }
        _ => Ok(None),
    }
}

async fn read_body(shared: &Shared, parts: &Parts, body: Incoming) -> Result<Bytes, ApiError> {
    let mut entry = shared.options.record.then(|| shared.record.begin(parts));
    let collected = Limited::new(body, shared.options.max_body).collect().await;
    let body = collected
        .map_err(|error| {
            let too_large = error.is::<LengthLimitError>();
            let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            ApiError::new(status, format!("the request body cannot be read: {error}"))
        })?
        .to_bytes();
    if let Some(mut entry) = entry.take() {
        entry.feed(&body);
        entry.complete();
    }
    Ok(body)
}

/// Applies a fault that strikes before the response head. `None`: the request is answered normally.
async fn fail_at_head(flight: &Flight, fault: Option<&FaultKind>) -> Option<Answer> {
    match fault? {
        FaultKind::Status { code, retry_after, shape } => Some(status_answer(*code, *retry_after, *shape)),
        FaultKind::Draining => Some(ApiError::draining().into_answer()),
        FaultKind::Hang => never().await,
        FaultKind::Reset => cut(&flight.conn, Cut::Rst).await,
        FaultKind::Close => cut(&flight.conn, Cut::Fin).await,
        // A header asked for it, so it strikes fresh connections too.
        FaultKind::Stale => cut(&flight.conn, Cut::Fin).await,
        FaultKind::Crash { after: None } => {
            flight.shared.crash_by_fault();
            never().await
        }
        FaultKind::SlowHead { delay_ms } => {
            tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
            None
        }
        _ => None,
    }
}

fn status_answer(code: u16, retry_after: Option<u32>, shape: Shape) -> Answer {
    let message = "The simulated node was told to fail";
    let kind = if code >= 500 { "InternalServerError" } else { "BadRequestError" };
    let body = match shape {
        Shape::Openai => api::error_json(code, kind, message),
        Shape::Vllm => {
            format!(
                r#"{{"object":"error","message":"{message}","type":"{kind}","param":null,"code":{code}}}"#
            )
        }
        Shape::Text => format!("{message}\n"),
    };
    let mut answer = error_answer(code, body);
    if shape == Shape::Text {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
