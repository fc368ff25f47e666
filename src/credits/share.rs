//! The fair holding of one member: by need, with room for requests to come while there is some.

use super::call::{Row, Total};

/// The part of its idle units by which a holding may differ from the fair one while nobody waits.
const SLACK: u32 = 4;

/// A holding below `claim` is raised to it, one above `keep` is lowered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    pub claim: u32,
    /// At least `claim`.
    pub keep: u32,
}

/// The fair holding of a resource. `others`: the sum over the others; `members`: all that claim, this one too.
pub fn aim(cap: u32, own: &Row, others: &Total, members: u32) -> Aim {
    let demand = u64::from(own.demand()) + others.in_use + others.urgent + others.waiting;
    let aim = if demand <= u64::from(cap) {
        roomy(cap, cap - demand as u32, own, others, members)
    } else {
        scarce(cap, own, others)
    };
    let claim = aim.claim.min(cap);
    Aim { claim, keep: aim.keep.max(claim) }
}

/// All that want units can have them: each has its own and an equal part of the rest. One part stays in the ledger, where who needs
/// more finds it without asking the others.
fn roomy(cap: u32, rest: u32, own: &Row, others: &Total, members: u32) -> Aim {
    let part = rest / members.saturating_add(1);
    let fair = own.demand().saturating_add(part);
    let waiting = others.urgent + others.waiting;
    let slack = (part / SLACK).max(1);
    let is_near = own.held >= own.demand() && (waiting > 0 || own.held.saturating_add(slack) >= fair);
    let claim = match is_near {
        true => own.held.min(fair.saturating_add(slack)),
        // others wait although there is enough for all: nobody takes more than it has requests for
        false if waiting > 0 => own.demand(),
        false => fair,
    };
    // while others find enough in the ledger, units stay where they were last of use
    let taken = others.held.saturating_add(own.held.into());
    let is_enough = taken.saturating_add(waiting.max(part.max(1).into())) <= cap.into();
    let keep = match is_enough {
        true => own.held.max(fair),
        false if waiting > 0 => fair,
        false => fair.saturating_add(slack),
    };
    Aim { claim: claim.min(keep), keep }
}

/// Interactive requests that wait come first; the rest is divided by demand, so that each request has the same chance wherever it came in.
fn scarce(cap: u32, own: &Row, others: &Total) -> Aim {
    let cap = u64::from(cap);
    let urgent = u64::from(own.urgent) + others.urgent;
    let own_rest = u64::from(own.in_use) + u64::from(own.waiting);
    let rest = own_rest + others.in_use + others.waiting;
    let (whole, part, of) = if urgent >= cap {
        (0, cap * u64::from(own.urgent), urgent)
    } else {
        (u64::from(own.urgent), (cap - urgent) * own_rest, rest.max(1))
    };
    let least = whole + part / of;
    let most = (whole + part.div_ceil(of)).max(1).min(own.demand().into());
    let (least, most) = (narrow(least), narrow(most));
    // who has none goes first; else a fraction stays where it is, for it would only go round
    let keep = match others {
        Total { starved: 1.., .. } => least,
        Total { urgent: 0, waiting: 0, .. } => most.max(own.held),
        _ => most,
    };
    let claim = if others.starved > 0 && own.held > 0 { least } else { most };
    Aim { claim, keep }
}

fn narrow(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}
