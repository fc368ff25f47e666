//! The balancing policies that do not look at the request: `least_in_flight` and `least_work`, `round_robin` and `random`.

use super::candidates::Order;
use super::{Candidate, Candidates, Tier};
use crate::config::Balance;
use crate::mix::mix;

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
    candidates.order_by(if policy == Balance::RoundRobin { Order::Turn } else { Order::Load });
    let chosen = match policy {
        // without a key the hashing policies choose by load
        Balance::LeastInFlight | Balance::LeastWork | Balance::Affinity | Balance::IpHash => {
            candidates.least_loaded(last, skip, turn.cursor)
        }
        Balance::RoundRobin => candidates.next_in_turn(last, skip, turn.cursor, turn.now),
        Balance::Random => weighted(candidates, last, skip, random),
    }?;
    turn.cursor = chosen + 1;
    if policy == Balance::RoundRobin {
        turn.now = candidates[chosen].next_turn(turn.now);
        candidates.update(chosen, |taken| taken.turn = turn.now);
    }
    Some(chosen)
}

/// The place of a random candidate of the lowest tier, with a probability in proportion to its rate. Places are drawn until one
/// is taken, each with the part of the fastest rate that it has.
fn weighted(candidates: &mut Candidates, last: Tier, skip: &[usize], random: f64) -> Option<usize> {
    /// After so many misses one scan is cheaper.
    const DRAWS: u64 = 32;
    let lowest = candidates.lowest_tier(last, skip)?;
    let count = candidates.len() as u64;
    for number in 0..DRAWS {
        let drawn = mix(random.to_bits() ^ mix(number));
        let (place, part) = (((drawn >> 32) * count) >> 32, (drawn & u64::from(u32::MAX)) as f64);
        let place = usize::try_from(place).unwrap_or(0);
        let candidate = &candidates[place];
        let is_eligible = candidate.tier == lowest && candidate.has_room() && !skip.contains(&place);
        if is_eligible && part < candidates.part_of_fastest(candidate) * f64::from(u32::MAX) {
            return Some(place);
        }
    }
    candidates.find_fastest();
    scanned(candidates, lowest, skip, random)
}

/// The same by one pass over all.
fn scanned(candidates: &Candidates, lowest: Tier, skip: &[usize], random: f64) -> Option<usize> {
    let is_eligible = |(place, candidate): &(usize, &Candidate)| {
        candidate.tier == lowest && candidate.has_room() && !skip.contains(place)
    };
    let members = || candidates.iter().enumerate().filter(is_eligible);
    let total: f64 = members().map(|(_, candidate)| candidate.inverse_rate.recip()).sum();
    let mut left = random * total;
    let mut chosen = None;
    for (place, candidate) in members() {
        chosen = Some(place);
        left -= candidate.inverse_rate.recip();
        if left < 0.0 {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn node(in_flight: u32, weight: f64) -> Candidate {
        Candidate {
            in_flight,
            elsewhere: 0,
            work: None,
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
        // what is random comes close only after many
        let jobs =
            [(Balance::LeastInFlight, 1000.0), (Balance::RoundRobin, 1000.0), (Balance::Random, 100_000.0)];
        for (policy, each) in jobs {
            let got = spread(policy, &[1.0, 2.0, 3.5, 0.5], (7.0 * each) as u32);
            for (count, weight) in got.iter().zip([1.0, 2.0, 3.5, 0.5]) {
                let want = weight * each;
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

    fn may_take(candidate: &Candidate, place: usize, last: Tier, skip: &[usize]) -> bool {
        candidate.tier <= last && candidate.has_room() && !skip.contains(&place)
    }

    /// By one pass: the smallest `(tier, next turn)`, the first at or after the cursor.
    fn scanned_turn(candidates: &Candidates, last: Tier, skip: &[usize], turn: &Turn) -> Option<usize> {
        let start = if turn.cursor < candidates.len() { turn.cursor } else { 0 };
        let places = (start..candidates.len()).chain(0..start);
        let rank = |place: &usize| (candidates[*place].tier, candidates[*place].next_turn(turn.now));
        places.filter(|place| may_take(&candidates[*place], *place, last, skip)).min_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
    }

    prop_compose! {
        fn any_node()(
            in_flight in 0_u32..3,
            weight in select(vec![1.0, 1.0, 2.0, 0.25]),
            tier in select(vec![Tier::Probe, Tier::Usable, Tier::Usable, Tier::Usable, Tier::Busy, Tier::Never]),
        ) -> Candidate {
            Candidate { limit: 2, tier, ..node(in_flight, weight) }
        }
    }

    proptest! {
        #[test]
        fn turns_are_those_of_one_pass_over_all(
            nodes in vec(any_node(), 1..12),
            steps in vec((any_node(), 0_usize..12, vec(0_usize..12, 0..3)), 1..60),
        ) {
            let mut candidates: Candidates = nodes.into_iter().collect();
            let mut turn = Turn::default();
            for (other, place, skip) in steps {
                let place = place % candidates.len();
                candidates.update(place, |node| *node = Candidate { turn: node.turn, ..other });
                let want = scanned_turn(&candidates, Tier::Busy, &skip, &turn);
                let got = choose(Balance::RoundRobin, &mut candidates, Tier::Busy, &skip, &mut turn, 0.0);
                prop_assert_eq!(got, want);
            }
        }

        #[test]
        fn a_random_node_may_be_taken(nodes in vec(any_node(), 1..12), skip in vec(0_usize..12, 0..3), random in 0.0..1.0) {
            let mut candidates: Candidates = nodes.into_iter().collect();
            let places = 0..candidates.len();
            let may = |place: &usize| may_take(&candidates[*place], *place, Tier::Busy, &skip);
            let lowest = places.filter(may).map(|place| candidates[place].tier).min();
            let got = choose(Balance::Random, &mut candidates, Tier::Busy, &skip, &mut Turn::default(), random);
            prop_assert_eq!(got.map(|place| candidates[place].tier), lowest);
            prop_assert!(got.is_none_or(|place| may_take(&candidates[place], place, Tier::Busy, &skip)));
        }
    }
}
