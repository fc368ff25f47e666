//! Routing: the pool for a request, chosen by the model that it names.

mod affinity;
mod conversation;
mod deadline;
mod form;
mod json;
mod packed;
mod percent;
mod place;
mod size;
mod stored;

pub use conversation::conversation;
pub use deadline::{Deadline, deadline};
pub use percent::{decoded as percent_decoded, encoded as percent_encoded};
pub use place::Place;

use http::{HeaderMap, HeaderValue};

use crate::classify;
use crate::config::Pool;
use crate::fleet::{Credential, Fleet, Member, Profile};
use crate::http1::request_fields;
use crate::journey::Failure;
use crate::retry::Repeat;

/// The pool that serves the request's model, if any does; or the one that has the stored response which its path names.
pub fn by_model<'a>(fleet: &'a Fleet, place: &Place, body: &[u8]) -> Option<&'a Member> {
    if !fleet.routes_by_model() {
        return fleet.route(None);
    }
    by_response(fleet, place).or_else(|| fleet.route(place.model(body).as_deref()))
}

/// The same of a request whose body is not read.
pub fn by_target<'a>(fleet: &'a Fleet, place: &Place) -> Option<&'a Member> {
    by_response(fleet, place).or_else(|| fleet.route(place.named()))
}

fn by_response<'a>(fleet: &'a Fleet, place: &Place) -> Option<&'a Member> {
    let id = place.response()?;
    fleet.pools.iter().find(|member| member.pool.stored(id).is_some())
}

/// The error for a model that no pool serves.
pub fn not_served() -> Failure {
    Failure::new(404, "no pool serves this model; see `models` in the configuration")
}

/// A request to this pool as it is to be placed. `client`: its address. `body`: if it was read whole.
pub fn profile(pool: &Pool, headers: &HeaderMap, client: &str, body: Option<(&Place, &[u8])>) -> Profile {
    let classes = &pool.queue.class;
    let said = classes.header.as_ref().and_then(|name| headers.get(name));
    Profile {
        affinity: affinity::affinity(pool, headers, client, body),
        size: size::size(pool, body),
        class: classes.of(said.map(HeaderValue::as_bytes)),
    }
}

/// Permission to send a request to this pool's nodes more than once.
pub fn repeat(member: &Member, method: &str, path: &str) -> Repeat {
    // the second DELETE of a stored response says 404, though the first has succeeded
    let is_lost = method == "DELETE" && stored::in_path(path).is_some();
    let retry = &member.conf.retry;
    let is_allowed = !is_lost && classify::is_repeatable(method, path, &retry.methods, &retry.paths);
    if is_allowed { Repeat::Allowed } else { Repeat::Method }
}

/// The subject of a request, where nodes differ in what they serve: the model, or the path if nothing names one.
pub fn subject(place: &Place, body: &[u8], path: &str) -> String {
    place.model(body).unwrap_or_else(|| path.to_owned())
}

/// Whose request it is, by the keys in its header as nodes get it: OpenAI's, Anthropic's, or Azure's field.
pub fn credential(head: &[u8]) -> Credential {
    const FIELDS: [&str; 3] = ["authorization", "x-api-key", "api-key"];
    let keys = request_fields(head).filter_map(|(name, value)| {
        let field = FIELDS.iter().find(|field| name.eq_ignore_ascii_case(field.as_bytes()))?;
        Some([field.as_bytes(), value.trim_ascii()])
    });
    Credential::of(&keys.flatten().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_request_is() {
        let of = |fields: &str| credential(format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
        let mine = of("Authorization: Bearer mine\r\n");
        assert_eq!(mine, of("x-a: b\r\nauthorization:  Bearer mine \r\n"));
        let others = [
            "",
            "Authorization: Bearer yours\r\n",
            "X-Api-Key: mine\r\n",
            "api-key: mine\r\n",
            "Authorization: Bearer mine\r\nx-api-key: mine\r\n",
        ];
        let others = others.map(of);
        for (place, other) in others.iter().enumerate() {
            assert!(*other != mine && !others[..place].contains(other), "{place}");
        }
    }
}
