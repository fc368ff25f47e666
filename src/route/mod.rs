//! Routing: a request's pool, by its path, a field or its model, and all that the pool needs to know of it.

mod affinity;
mod alias;
mod conversation;
mod deadline;
mod form;
mod genai;
mod json;
mod listing;
mod overflow;
mod packed;
mod percent;
mod place;
mod renamer;
mod size;
mod split;
mod stored;

pub use affinity::session;
pub use alias::{Alias, refuse_in_target};
pub use conversation::conversation;
pub use deadline::{Deadline, deadline};
pub use genai::call;
pub use listing::own_list;
pub use overflow::{at_home, other, other_once};
pub use percent::{decoded as percent_decoded, encoded as percent_encoded};
pub use place::Place;
pub use renamer::Renamer;
pub use split::Draw;

use http::{HeaderMap, HeaderValue};

use crate::classify;
use crate::classify::own_errors::About;
use crate::config::{Class, Pool};
use crate::fleet::{Credential, Fleet, Flow, Member, Profile};
use crate::http1::request_fields;
use crate::journey::Failure;
use crate::keys;
use crate::retry::Repeat;

/// The pool that serves the request's model, if any does; or the one that has the stored response which its path names. `asked`: the
/// client's name for the model, where the body has another by now. `draw`: for a model that is shared between pools.
pub fn by_model<'a>(
    fleet: &'a Fleet,
    place: &Place,
    body: &[u8],
    asked: Option<&str>,
    draw: impl FnOnce() -> Draw,
) -> Option<&'a Member> {
    if !fleet.routes_by_model() {
        return fleet.route(None);
    }
    let by_name = || match asked {
        Some(asked) => by_name(fleet, Some(asked), draw),
        None => by_name(fleet, place.model(body).as_deref(), draw),
    };
    by_response(fleet, place).or_else(by_name)
}

/// The same of a request whose body is not read.
pub fn by_target<'a>(fleet: &'a Fleet, place: &Place, draw: impl FnOnce() -> Draw) -> Option<&'a Member> {
    by_response(fleet, place).or_else(|| by_name(fleet, place.named(), draw))
}

fn by_name<'a>(fleet: &'a Fleet, model: Option<&str>, draw: impl FnOnce() -> Draw) -> Option<&'a Member> {
    match model.and_then(|model| fleet.split(model)) {
        Some(shares) => split::pool(fleet, shares, draw()),
        None => fleet.route(model),
    }
}

/// The error for a request that the choice of its pool no longer leads anywhere.
pub fn not_chosen() -> Failure {
    Failure::new(404, "no pool has this path_prefix or header any more")
}

fn by_response<'a>(fleet: &'a Fleet, place: &Place) -> Option<&'a Member> {
    let id = place.response()?;
    fleet.pools.iter().find(|member| member.pool.stored(id).is_some())
}

/// The error for a request whose model no pool serves.
pub fn not_served(model: Option<String>) -> Failure {
    let about = model.map_or(About::Request, |model| About::Model(model.into()));
    Failure::new(404, "no pool serves this model; see `models` in the configuration").about(about)
}

/// The same for a request whose body is not read.
pub fn not_served_by_target(place: &Place) -> Failure {
    match place.named() {
        Some(model) => not_served(Some(model.to_owned())),
        None => Failure::new(
            404,
            "a request of this kind is routed by `?model=` alone, and no pool has that model or `*`",
        ),
    }
}

/// A request to this pool as it is to be placed. `client`: its address. `flow`: those with whom it shares its turns. `body`: if it
/// was read whole.
pub fn profile(
    pool: &Pool,
    headers: &HeaderMap,
    client: &str,
    flow: Option<Flow>,
    body: Option<(&Place, &[u8])>,
) -> Profile {
    let classes = &pool.queue.class;
    let said = classes.header.as_ref().and_then(|name| headers.get(name));
    Profile {
        affinity: affinity::affinity(pool, headers, client, body),
        size: size::size(pool, flow, body),
        class: classes.of(said.map(HeaderValue::as_bytes)),
        flow,
        is_due: false,
    }
}

/// The class that a request says for this pool, if it does.
pub fn class_said(pool: &Pool, headers: &HeaderMap) -> Option<Class> {
    let classes = &pool.queue.class;
    let said = classes.header.as_ref().and_then(|name| headers.get(name));
    classes.said(said.map(HeaderValue::as_bytes)?)
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

/// The sender of a request, by the keys in its header as nodes get it: OpenAI's, Anthropic's, or Azure's field.
pub fn credential(head: &[u8]) -> Credential {
    let found = request_fields(head).filter_map(|(name, value)| {
        let field = keys::FIELDS.iter().find(|field| name.eq_ignore_ascii_case(field.as_bytes()))?;
        Some([field.as_bytes(), value.trim_ascii()])
    });
    Credential::of(&found.flatten().collect::<Vec<_>>())
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
