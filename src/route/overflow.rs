//! The other pool of a request, for a time in which its own would make it wait.

use super::repeat;
use crate::balance::By;
use crate::fleet::{Fleet, Member};
use crate::journey::Other;
use crate::retry::Repeat;

/// The pool to which a request goes that would have to wait in its own; `model`: that by which it was shared between pools.
pub fn other(
    fleet: &Fleet,
    member: &Member,
    model: Option<&str>,
    (method, path): (&str, &str),
) -> Option<Other> {
    let of =
        |to: &Member, why| Other { member: to.clone(), repeat: repeat(to, method, path), why, profile: None };
    if let Some(name) = &member.conf.spill {
        return fleet.pools.iter().find(|to| to.conf.name == *name).map(|to| of(to, By::Spill));
    }
    let mut shares = fleet.split(model?)?.iter().filter_map(|(place, _)| fleet.pools.get(*place));
    shares.find(|to| to.conf.name != member.conf.name).map(|to| of(to, By::Split))
}

/// The same for a request that is sent once.
pub fn other_once(fleet: &Fleet, member: &Member, model: Option<&str>) -> Option<Other> {
    let other = other(fleet, member, model, ("", ""))?;
    Some(Other { repeat: Repeat::Once, ..other })
}
