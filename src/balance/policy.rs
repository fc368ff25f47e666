//! The balancing policies that do not look at the request: `least_in_flight` and `least_work`, `round_robin` and `random`.

use super::{Candidate, Candidates, Tier};
use crate::config::Balance;

/// The state that a policy carries from one choice to the next.
#[derive(Debug, Default)]
pub struct Turn {
    /// The place where the next pass begins, so that ties are broken in rotation and not always in favour of
    /// the first.
    pub(super) cursor: usize,
    /// Virtual time of `round_robin`. A node that joins starts here, and has no missed turns to catch up on.
    now: f64,
}

impl Turn {
    /// Ties go to the candidate at this position, or the next one after it.
    pub fn starting_at(cursor: usize) -> Self {
        Self { cursor, now: 0.0 }
    }
}

/// The candidate that gets the next request, or `None` if none may be taken.
///
/// `last` is the highest tier that may be taken; `skip` holds the places that this request has tried;
/// `random` is a number in `0.0..1.0`.
pub fn choose(
    policy: Balance,
    candidates: &mut Candidates,
    last: Tier,
    skip: &[usize],
    turn: &mut Turn,
    random: f64,
) -> Option<usize> {
    let chosen = match policy {
        // without a key the hashing policies choose by load
        Balance::LeastInFlight | Balance::LeastWork | Balance::Affinity | Balance::IpHash => {
            candidates.least_loaded(last, skip, turn.cursor)
        }
        Balance::RoundRobin => next_in_turn(candidates, last, skip, turn),
        Balance::Random => weighted(candidates, last, skip, random),
    }?;
    turn.cursor = chosen + 1;
    if policy == Balance::RoundRobin {
        turn.now = candidates[chosen].next_turn(turn.now);
        candidates.update(chosen, |taken| taken.turn = turn.now);
    }
    Some(chosen)
}

fn may_take(candidate: &Candidate, position: usize, last: Tier, skip: &[usize]) -> bool {
    candidate.tier <= last && candidate.has_room() && !skip.contains(&position)
}

/// The candidate with the smallest `(tier, next turn)`; ties go to the first at or after the cursor.
fn next_in_turn(candidates: &Candidates, last: Tier, skip: &[usize], turn: &Turn) -> Option<usize> {
    let start = if turn.cursor < candidates.len() { turn.cursor } else { 0 };
    let (mut best, mut best_tier, mut best_turn) = (None, last, f64::INFINITY);
    for place in (start..candidates.len()).chain(0..start) {
        let candidate = &candidates[place];
        // compare first: most candidates are no better than the best so far, and need no further look
        let next = candidate.next_turn(turn.now);
        let better = candidate.tier < best_tier || candidate.tier == best_tier && next < best_turn;
        if better && candidate.has_room() && !skip.contains(&place) {
            (best, best_tier, best_turn) = (Some(place), candidate.tier, next);
        }
    }
    best
}

/// A random candidate of the lowest tier, with a probability in proportion to its rate.
fn weighted(candidates: &Candidates, last: Tier, skip: &[usize], random: f64) -> Option<usize> {
    let eligible = |position: usize| may_take(&candidates[position], position, last, skip);
    let lowest = (0..candidates.len()).filter(|p| eligible(*p)).map(|p| candidates[p].tier).min()?;
    let members = || (0..candidates.len()).filter(|p| eligible(*p) && candidates[*p].tier == lowest);
    let total: f64 = members().map(|p| 1.0 / candidates[p].inverse_rate).sum();
    let mut left = random * total;
    let mut chosen = None;
    for position in members() {
        chosen = Some(position);
        left -= 1.0 / candidates[position].inverse_rate;
        if left < 0.0 {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(in_flight: u32, weight: f64) -> Candidate {
        Candidate {
            in_flight,
            tokens: None,
            limit: u32::MAX,
            inverse_rate: 1.0 / weight,
            tier: Tier::Usable,
            turn: Candidate::NO_TURN,
            name: 0,
        }
    }

    fn pick(candidates: &[Candidate], skip: &[usize]) -> Option<usize> {
        let (mut candidates, mut turn) = (candidates.iter().copied().collect(), Turn::default());
        choose(Balance::LeastInFlight, &mut candidates, Tier::Busy, skip, &mut turn, 0.0)
    }

    /// The number of `n` requests that each node gets when every request is held open.
    fn spread(policy: Balance, weights: &[f64], n: u32) -> Vec<u32> {
        let mut candidates: Candidates = weights.iter().map(|w| node(0, *w)).collect();
        let mut turn = Turn::default();
        for i in 0..n {
            let random = f64::from(i) * 0.618_034 % 1.0;
            let chosen = choose(policy, &mut candidates, Tier::Usable, &[], &mut turn, random);
            candidates.update(chosen.unwrap(), |c| c.in_flight += 1);
        }
        candidates.iter().map(|c| c.in_flight).collect()
    }

    #[test]
    fn fewest_in_flight_wins() {
        assert_eq!(pick(&[node(3, 1.0), node(1, 1.0), node(2, 1.0)], &[]), Some(1));
    }

    #[test]
    fn weight_scales_the_load() {
        // (3 + 1) / 2 is less than (2 + 1) / 1
        assert_eq!(pick(&[node(2, 1.0), node(3, 2.0)], &[]), Some(1));
    }

    #[test]
    fn tried_full_and_never_are_skipped() {
        let mut full = node(0, 1.0);
        full.limit = 0;
        let mut never = node(0, 1.0);
        never.tier = Tier::Never;
        assert_eq!(pick(&[node(0, 1.0), full, never, node(9, 1.0)], &[0]), Some(3));
        assert_eq!(pick(&[node(0, 1.0), full, never], &[0]), None);
    }

    #[test]
    fn a_lower_tier_goes_first_whatever_the_load() {
        let mut busy = node(0, 1.0);
        busy.tier = Tier::Busy;
        let mut last = node(0, 1.0);
        last.tier = Tier::LastResort;
        assert_eq!(pick(&[last, busy, node(100, 1.0)], &[]), Some(2));
        assert_eq!(pick(&[last, busy, node(100, 1.0)], &[2]), Some(1));
        assert_eq!(pick(&[last], &[]), None, "a last resort needs permission");
    }

    #[test]
    fn ties_are_broken_in_rotation() {
        let mut candidates = Candidates::from_iter([node(0, 1.0); 4]);
        let mut turn = Turn::default();
        let mut counts = [0; 4];
        for _ in 0..400 {
            let chosen = choose(Balance::LeastInFlight, &mut candidates, Tier::Usable, &[], &mut turn, 0.0);
            counts[chosen.unwrap()] += 1;
        }
        assert_eq!(counts, [100; 4]);
    }

    #[test]
    fn weights_hold_within_two_percent() {
        for policy in [Balance::LeastInFlight, Balance::RoundRobin, Balance::Random] {
            // the additive recurrence of the golden ratio spreads evenly over 0..1
            let got = spread(policy, &[1.0, 2.0, 3.5, 0.5], 7000);
            for (count, weight) in got.iter().zip([1.0, 2.0, 3.5, 0.5]) {
                let want = weight * 1000.0;
                let off = (f64::from(*count) - want).abs() / want;
                assert!(off <= 0.02, "{policy:?}: {got:?} is off by {off}");
            }
        }
    }

    #[test]
    fn a_newcomer_has_no_turns_to_catch_up_on() {
        let mut candidates = Candidates::from_iter([node(0, 1.0), node(0, 1.0)]);
        candidates.update(1, |c| c.tier = Tier::Never);
        let mut turn = Turn::default();
        let mut pick = |candidates: &mut Candidates| {
            choose(Balance::RoundRobin, candidates, Tier::Usable, &[], &mut turn, 0.0).unwrap()
        };
        for _ in 0..100 {
            assert_eq!(pick(&mut candidates), 0);
        }
        candidates.update(1, |c| c.tier = Tier::Usable);
        let to_newcomer: usize = (0..10).map(|_| pick(&mut candidates)).sum();
        assert!((5..=6).contains(&to_newcomer), "{to_newcomer} of 10");
    }
}
