//! Routing: the pool for a request, chosen by the model that it names.

mod form;
mod json;
mod place;

pub use place::Place;

use crate::classify;
use crate::fleet::{Fleet, Member};
use crate::journey::Failure;
use crate::retry::Repeat;

/// The pool that serves the request's model, if any does.
pub fn by_model<'a>(fleet: &'a Fleet, place: &Place, body: &[u8]) -> Option<&'a Member> {
    if !fleet.routes_by_model() {
        return fleet.route(None);
    }
    fleet.route(place.model(body).as_deref())
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

/// The subject of a request, where nodes differ in what they serve: the model, or the path if nothing names one.
pub fn subject(place: &Place, body: &[u8], path: &str) -> String {
    place.model(body).unwrap_or_else(|| path.to_owned())
}
