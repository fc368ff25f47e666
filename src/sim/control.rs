//! The simulated node's control endpoints: health, metrics, statistics, and faults over HTTP.
//!
//! `POST /sim/fault` takes one fault or a list of them (they replace those that are armed),
//! `DELETE` clears, `GET` lists. `POST /sim/health` takes `{"mode": "ok"}`, `{"mode": "status",
//! "code": 503}` or `{"mode": "hang"}`. `POST /sim/speed` takes a number. `POST /sim/crash` crashes
//! the node, which comes back after its start-up time. `POST /sim/drain` takes the most seconds that what runs may go on
//! while all that is new gets 500; then the node is gone. `GET /sim/stats` shows the statistics.

use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::answer::{Answer, error_answer, json_answer, never, typed_answer};
use super::api::{ApiError, models};
use super::body::Content;
use super::fault::{Fault, Health};
use super::shared::{Shared, State};
use super::stats::add;

const BODY_MAX: usize = 64 << 10;

/// True for the paths of `answer`; armed faults never strike these.
pub(super) fn is_control(path: &str) -> bool {
    path == "/health" || path == "/metrics" || path.starts_with("/sim/")
}

/// A gateway asks for the list of models by itself, as it asks for the health: no client's request, which tests count.
pub(super) fn is_background(request: &Request<Incoming>) -> bool {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    request.uri().path() == "/v1/models" && agent.starts_with("evenkeel/")
}

pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/v1/models" {
        add(&shared.counters.lists, 1);
    }
    match (&parts.method, parts.uri.path()) {
        (_, "/v1/models") if *shared.state.borrow() == State::Loading => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Loading model"))
        }
        (_, "/v1/models") => Ok(models(&shared.options.model)),
        (_, "/health") => Ok(health(shared).await),
        (_, "/metrics") => Ok(metrics(shared)),
        (&Method::GET, "/sim/stats") => to_json(&shared.stats()),
        (&Method::GET, "/sim/fault") => to_json(&shared.faults.list()),
        (&Method::DELETE, "/sim/fault") => {
            shared.faults.set([]);
            Ok(no_content())
        }
        (&Method::POST, "/sim/fault") => {
            let faults = Fault::list_from_json(read_json(body).await?).map_err(ApiError::bad)?;
            shared.faults.set(faults);
            Ok(no_content())
        }
        (&Method::POST, "/sim/health") => {
            let health = serde_json::from_value(read_json(body).await?);
            *shared.health.lock() = health.map_err(|error| ApiError::bad(error.to_string()))?;
            Ok(no_content())
        }
        (&Method::POST, "/sim/speed") => match read_json(body).await?.as_f64() {
            Some(speed) if speed > 0.0 => {
                shared.engine.set_speed(speed);
                Ok(no_content())
            }
            _ => Err(ApiError::bad("the body must be a number above 0")),
        },
        (&Method::POST, "/sim/drain") => {
            let limit =
                read_json(body).await?.as_f64().and_then(|limit| Duration::try_from_secs_f64(limit).ok());
            let limit = limit.ok_or_else(|| ApiError::bad("the body must be a number of seconds"))?;
            let shared = Arc::clone(shared);
            tokio::spawn(async move { shared.drain(limit).await });
            Ok(no_content())
        }
        (&Method::POST, "/sim/crash") if *shared.state.borrow() == State::Serving => {
            shared.crash_by_fault();
            never().await
        }
        (_, path) => Err(ApiError::new(StatusCode::NOT_FOUND, format!("Not Found: {path}"))),
    }
}

async fn health(shared: &Shared) -> Answer {
    add(&shared.counters.health_checks, 1);
    let health = *shared.health.lock();
    let loading = *shared.state.borrow() == State::Loading;
    match health {
        Health::Hang => never().await,
        Health::Status { code } => {
            let mut answer = no_content();
            *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            answer
        }
        Health::Ok if loading => {
            let body = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
            error_answer(503, body.to_owned())
        }
        Health::Ok => Response::new(Content::Empty),
    }
}

/// The metrics that balancers read, under vLLM's names.
fn metrics(shared: &Shared) -> Answer {
    let stats = shared.stats();
    let limits = &shared.options.limits;
    let cache = match limits.kv_tokens {
        Some(_) => shared.engine.load().kv_usage,
        None => stats.running as f64 / limits.max_seqs.max(1) as f64,
    };
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, labels: &str, value: String| {
        let model = &shared.options.model;
        text += &format!("# TYPE vllm:{name} {kind}\nvllm:{name}{{model_name={model:?}{labels}}} {value}\n");
    };
    metric("num_requests_running", "gauge", "", stats.running.to_string());
    metric("num_requests_waiting", "gauge", "", stats.waiting.to_string());
    metric("kv_cache_usage_perc", "gauge", "", cache.to_string());
    metric("num_preemptions_total", "counter", "", stats.preemptions.to_string());
    metric("prefix_cache_queries_total", "counter", "", stats.prompt_tokens.to_string());
    metric("prefix_cache_hits_total", "counter", "", stats.cached_tokens.to_string());
    metric("generation_tokens_total", "counter", "", stats.tokens.to_string());
    metric("request_success_total", "counter", ",finished_reason=\"length\"", stats.succeeded.to_string());
    typed_answer("text/plain; version=0.0.4; charset=utf-8", text)
}

async fn read_json(body: Incoming) -> Result<Value, ApiError> {
    let body =
        Limited::new(body, BODY_MAX).collect().await.map_err(|error| ApiError::bad(error.to_string()))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| ApiError::bad(error.to_string()))
}

fn to_json(value: &impl serde::Serialize) -> Result<Answer, ApiError> {
    let text = serde_json::to_string(value);
    text.map(json_answer).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn no_content() -> Answer {
    let mut answer = Response::new(Content::Empty);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
