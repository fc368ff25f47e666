//! The other pool of a request, for a time in which its own would make it wait.

use super::repeat;
use crate::balance::By;
use crate::fleet::{Fleet, Member, StoredId};
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
    if member.conf.spill.is_some() {
        return spill(fleet, member).map(|to| of(to, By::Spill));
    }
    let mut shares = fleet.split(model?)?.iter().filter_map(|(place, _)| fleet.pools.get(*place));
    shares.find(|to| to.conf.name != member.conf.name).map(|to| of(to, By::Split))
}

/// The same for a request that is sent once, whose body is not read: an alias could not be replaced there.
pub fn other_once(fleet: &Fleet, member: &Member, model: Option<&str>) -> Option<Other> {
    let other = other(fleet, member, model, ("", ""))?;
    let fits = other.member.conf.models.aliases.is_empty();
    fits.then_some(Other { repeat: Repeat::Once, ..other })
}

/// The pool of a request that was given to this one: another one to which this one's requests go, if that has the stored response that
/// the request names. `model`: that by which it was shared between pools.
pub fn at_home<'a>(
    fleet: &'a Fleet,
    member: &'a Member,
    model: Option<&str>,
    named: impl FnOnce() -> Option<StoredId>,
) -> &'a Member {
    if member.conf.spill.is_none() && model.is_none() {
        return member;
    }
    let Some(id) = named() else { return member };
    let split = model.and_then(|model| fleet.split(model)).unwrap_or_default();
    let shared = split.iter().filter_map(|(place, _)| fleet.pools.get(*place));
    let with_spill = |own: &'a Member| std::iter::once(own).chain(spill(fleet, own));
    let mut all = std::iter::once(member).chain(shared).flat_map(with_spill);
    all.find(|other| other.pool.stored(id).is_some()).unwrap_or(member)
}

fn spill<'a>(fleet: &'a Fleet, member: &Member) -> Option<&'a Member> {
    let name = member.conf.spill.as_ref()?;
    fleet.pools.iter().find(|to| to.conf.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_goes_to_no_pool_with_other_names_for_models() {
        for (aliases, want) in [("{}", Some("q")), ("{ gpt: real }", None)] {
            let text = format!(
                "server: {{ listen: 127.0.0.1:1 }}\npools:\n  p: {{ nodes: [n:1], spill: q }}\n  \
                 q: {{ nodes: [n:1], models: off, aliases: {aliases} }}\n"
            );
            let config = crate::config::Config::parse(&text, "t").expect("a config");
            let fleet = Fleet::first(config, std::time::Instant::now());
            let other = other_once(&fleet, &fleet.pools[0], None);
            assert_eq!(other.as_ref().map(|other| &*other.member.conf.name), want, "{aliases}");
        }
    }
}
