//! The schema of the ways to a pool besides the model: a prefix of the path, a field of the header, another pool that is full.

use super::model::{ChosenBy, HeaderChoice, Pool, Split};
use super::raw::Raw;
use super::section::{Place, Section};
use super::values::{header_name, is_off, name, or_word, shown, text};

const PREFIX_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 256;

pub(super) fn chosen_by(s: &mut Section) -> ChosenBy {
    ChosenBy {
        path_prefix: s.get("path_prefix", None, or_word("off", path_prefix)),
        header: s.take("header").filter(|place| !is_off(place.raw)).and_then(|place| header(&place)),
    }
}

fn header(place: &Place) -> Option<HeaderChoice> {
    place.section()?.finish(|s| {
        let name = s.required("name", "write the name of a header field, such as X-Pool")?.read(header_name);
        let value = s.required("value", "write the value that it has for this pool")?.read(field_value);
        Some(HeaderChoice { name: name?, value: value? })
    })
}

fn path_prefix(raw: &Raw) -> Result<String, String> {
    let prefix = text(raw)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let fits = prefix.starts_with('/') && prefix.len() <= PREFIX_BYTES_MAX && prefix.bytes().all(is_plain);
    if prefix.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!(
            "{} has a segment `.` or `..`, which clients resolve before they send; use one such as /team-a",
            shown(raw)
        ));
    }
    if fits && prefix.len() > 1 && !prefix.ends_with('/') && !prefix.contains("//") {
        return Ok(prefix);
    }
    Err(format!(
        "{} is not the beginning of paths; use one such as /team-a, without `/` at its end",
        shown(raw)
    ))
}

fn field_value(raw: &Raw) -> Result<String, String> {
    let value = text(raw)?;
    let fits = (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(value)
    } else {
        Err(format!("{} is not a value; use 1 to 256 letters, digits and signs, without blanks", shown(raw)))
    }
}

/// The name of the pool to which requests go that would wait here.
pub(super) fn spill(s: &mut Section) -> Option<String> {
    s.get("spill", None, or_word("off", name))
}

/// Rules between pools. `places`: that of each.
pub(super) fn check(pools: &[Pool], places: &[Place]) {
    for (at, (pool, place)) in pools.iter().zip(places).enumerate() {
        let before = &pools[..at];
        check_prefix(pool, before, place);
        if let Some(header) = &pool.chosen_by.header
            && let Some(other) = before.iter().find(|other| other.chosen_by.header.as_ref() == Some(header))
        {
            place.problem_at(
                "header",
                format!("is already that of pool `{}`; give each pool a value of its own", other.name),
            );
        }
        check_spill(pool, pools, place);
    }
}

/// A pool that gets no requests is a mistake. `place`: that of all pools.
pub(super) fn check_reached(place: &Place, pools: &[Pool], splits: &[Split]) {
    // an earlier problem may be the reason
    if !place.is_clean() {
        return;
    }
    for (at, pool) in pools.iter().enumerate() {
        let is_spilled_to = pools.iter().any(|other| other.spill.as_ref() == Some(&pool.name));
        let has_share = splits.iter().any(|split| split.shares.iter().any(|(place, _)| *place == at));
        let is_chosen = pool.chosen_by != ChosenBy::default();
        if !(pool.models.takes_some() || is_chosen || is_spilled_to || has_share) {
            let message =
                "no request comes here: list models, or name it in a path_prefix, header, spill or split";
            place.problem_at(&pool.name, message);
        }
    }
}

/// Refuses prefixes of which one begins the other: the order of the pools would decide between them.
fn check_prefix(pool: &Pool, before: &[Pool], place: &Place) {
    let Some(prefix) = &pool.chosen_by.path_prefix else { return };
    for other in before {
        let Some(known) = &other.chosen_by.path_prefix else { continue };
        let (short, long) = if known.len() < prefix.len() { (known, prefix) } else { (prefix, known) };
        if long.strip_prefix(&**short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let name = &other.name;
            let message = format!(
                "`{prefix}` overlaps with `{known}` of pool `{name}`; use prefixes of which none begins another"
            );
            place.problem_at("path_prefix", message);
        }
    }
}

fn check_spill(pool: &Pool, pools: &[Pool], place: &Place) {
    let Some(spill) = &pool.spill else { return };
    let find = |name: &str| pools.iter().find(|pool| pool.name == name);
    let Some(target) = find(spill) else {
        return place.problem_at("spill", format!("there is no pool `{spill}`"));
    };
    let mut way = vec![pool.name.as_str()];
    let mut next = Some(target);
    while let Some(at) = next {
        way.push(&at.name);
        if at.name == pool.name {
            return place.problem_at("spill", format!("leads in a circle: {}", way.join(", ")));
        }
        next = at.spill.as_deref().and_then(find).filter(|_| way.len() <= pools.len());
    }
}
