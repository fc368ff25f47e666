//! The keys of requests (`server.api_keys`): those that are refused for theirs, and why.

use std::time::{Instant, SystemTime};

use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;

use super::caller::Caller;
use crate::classify::own_errors::About;
use crate::journey::Failure;
use crate::keys::{Bearer, Denial, Limit, Limited};
use crate::live::Live;

/// Finds out who has sent a request, as soon as its head is there. Nothing is asked of one if the config asks for no keys.
pub(super) fn admit(live: &Live, request: &RequestHeader, caller: &mut Caller) -> Result<(), Failure> {
    if !caller.hides_keys() || is_preflight(request) {
        return Ok(());
    }
    match Bearer::of(&live.keys(), &request.headers, Instant::now(), SystemTime::now) {
        Ok(bearer) => {
            caller.bearer = Some(Box::new(bearer));
            Ok(())
        }
        Err(denied) => {
            caller.bearer = denied.bearer.map(Box::new);
            Err(denial(denied.why))
        }
    }
}

/// The question of a browser, which sends no key with it (Fetch standard, section 4.8, "CORS-preflight fetch").
fn is_preflight(request: &RequestHeader) -> bool {
    let has = |headers: &HeaderMap| {
        headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    };
    request.method == Method::OPTIONS && has(&request.headers)
}

fn denial(why: Denial) -> Failure {
    let unauthorised = |message: &str| Failure::new(401, message).about(About::Key);
    match why {
        Denial::NoKey => unauthorised(
            "the request has no API key; send it as `Authorization: Bearer KEY`, `x-api-key` or `api-key`",
        ),
        Denial::Unknown => unauthorised("the API key is not known here"),
        Denial::Expired => unauthorised("the API key has expired"),
        Denial::Limited(Limited { limit, wait, standing }) => {
            let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            let a_minute = |quota: Option<crate::keys::Quota>| quota.map_or(0, |quota| quota.limit);
            let (what, kind) = match limit {
                Limit::Requests => (format!("{} requests a minute", a_minute(standing.requests)), "requests"),
                Limit::Tokens => (format!("{} tokens a minute", a_minute(standing.tokens)), "tokens"),
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
