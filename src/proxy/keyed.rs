//! The keys of requests (`server.api_keys`): those that are refused for theirs, and why.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::caller::Caller;
use super::downstream::body::content_length;
use crate::classify::own_errors::About;
use crate::journey::Failure;
use crate::keys::{Bearer, Denial, Limit, Quota, Standing};
use crate::live::Live;

/// The longest body that is read for nothing, in bytes, and the longest time for that.
const DRAINED_MAX: u64 = 64 << 10;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// Finds out who has sent a request, as soon as its head is there. Nothing is asked of one if the config asks for no keys.
pub(super) fn admit(live: &Live, request: &RequestHeader, caller: &mut Caller) -> Result<(), Failure> {
    if !caller.hides_keys()
        || is_preflight(request)
        || live.challenges.to_request(request.uri.path()).is_some()
    {
        return Ok(());
    }
    match Bearer::of(&live.keys(), &request.headers, Instant::now(), SystemTime::now) {
        Ok(bearer) => {
            caller.bearer = Some(Box::new(bearer));
            Ok(())
        }
        Err(denied) => {
            caller.bearer = denied.bearer;
            Err(denial(denied.why, caller.bearer.as_deref().map(Bearer::standing)))
        }
    }
}

/// The question of a browser, which sends no key with it (Fetch standard, section 4.8, "CORS-preflight fetch").
fn is_preflight(request: &RequestHeader) -> bool {
    let has = |headers: &HeaderMap| {
        headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    };
    let has_body = |headers: &HeaderMap| {
        headers.contains_key(header::TRANSFER_ENCODING)
            || content_length(headers).is_some_and(|length| length > 0)
    };
    request.method == Method::OPTIONS && has(&request.headers) && !has_body(&request.headers)
}

fn denial(why: Denial, standing: Option<&Standing>) -> Failure {
    let unauthorised = |message: &str| Failure::new(401, message).about(About::Key);
    match why {
        Denial::NoKey => unauthorised(
            "the request has no API key; send it as `Authorization: Bearer KEY`, `x-api-key` or `api-key`",
        ),
        Denial::Unknown => unauthorised("the API key is not known here"),
        Denial::Expired => unauthorised("the API key has expired"),
        Denial::Limited { limit, wait } => {
            let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            let a_minute =
                |of: fn(&Standing) -> Option<Quota>| standing.and_then(of).map_or(0, |quota| quota.limit);
            let (what, kind) = match limit {
                Limit::Requests => {
                    (format!("{} requests a minute", a_minute(|all| all.requests)), "requests")
                }
                Limit::Tokens => (format!("{} tokens a minute", a_minute(|all| all.tokens)), "tokens"),
                Limit::InFlight => ("requests at one time".to_owned(), "requests"),
            };
            let message = format!("the limit of the API key is reached: {what}; try again in {seconds} s");
            Failure::new(429, message).about(About::Limit(kind)).retry_after(seconds)
        }
    }
}

/// Refuses a request for a model that its key does not go for. `model`: its name as the client has it; `None`: it names none, and
/// some node would choose one.
pub(super) fn check_model(caller: &Caller, model: Option<&str>) -> Result<(), Failure> {
    let Some(bearer) = caller.bearer.as_deref().filter(|bearer| !bearer.key().is_for_all_models()) else {
        return Ok(());
    };
    match model {
        Some(model) if bearer.key().may_use(model) => Ok(()),
        Some(model) => {
            Err(Failure::new(403, "the API key is not for this model").about(About::ModelOfKey(model.into())))
        }
        None => Err(Failure::new(403, "the API key is for some models only, and the request names none")),
    }
}

/// The request's model makes a difference to its key.
pub(super) fn needs_model(caller: &Caller) -> bool {
    caller.bearer.as_deref().is_some_and(|bearer| !bearer.key().is_for_all_models())
}

/// The connection of a client that is refused for its key serves another request: one whose limit is reached asks again soon, and
/// would have to connect each time. Its body must have been read, or be short and on its way: the session closes the connection
/// after an answer that comes before the end of its request.
pub(super) async fn keeps(session: &mut Session, failure: &Failure) -> bool {
    let is_for_key = matches!(failure.about, About::Key | About::ModelOfKey(_) | About::Limit(_));
    let headers = &session.req_header().headers;
    let is_short = content_length(headers).is_some_and(|length| length <= DRAINED_MAX)
        && !headers.contains_key(header::EXPECT);
    let client = session.as_downstream_mut();
    if !is_for_key || !client.is_body_done() && !is_short {
        return false;
    }
    // over HTTP/2, too: some clients lose an answer whose stream is reset while they send
    let is_drained = matches!(timeout(DRAINED_WITHIN, client.drain_request_body()).await, Ok(Ok(())));
    is_drained && client.as_http1().is_some()
}
