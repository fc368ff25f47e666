//! Routing: the pool for a request, chosen by the model that its body names.

use crate::classify;
use crate::fleet::{Fleet, Member};
use crate::journey::Failure;
use crate::retry::Repeat;

/// The pool that serves the body's model, if any does.
pub fn by_model<'a>(fleet: &'a Fleet, body: &[u8]) -> Option<&'a Member> {
    fleet.route(model_of(body).as_deref())
}

/// The error for a model that no pool serves.
pub fn not_served() -> Failure {
    Failure::new(404, "no pool serves this model; see `models` in the configuration")
}

/// Permission to send a request to this pool's nodes more than once.
pub fn repeat(member: &Member, method: &str, path: &str) -> Repeat {
    let is_allowed =
        classify::is_repeatable(method, path, &member.conf.retry.methods, &member.conf.retry.paths);
    if is_allowed { Repeat::Allowed } else { Repeat::Method }
}

/// What a request asks for, where nodes differ in what they serve: the model, or the path if the body names none.
pub fn subject(body: &[u8], path: &str) -> String {
    model_of(body).unwrap_or_else(|| path.to_owned())
}

/// The `model` of a JSON body, read without building the rest of the document.
fn model_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        model: Option<String>,
    }
    serde_json::from_slice::<Named>(body).ok()?.model
}
