//! `affinity` and `ip_hash`: a request goes where those with its key went before.
//!
//! Each node has a score for each key, and the smallest wins (highest random weight; Thaler and Ravishankar, 1998): all
//! gateways agree with nothing shared, and a node that leaves moves its own keys alone. With the score `-ln(u) / weight`, `u`
//! uniform in 0 to 1, a node wins in proportion to its weight, and a weight that rises moves keys to that node only (Schindelhauer
//! and Schomaker, 2005). A node whose load is above its bound is passed over, as in "Consistent Hashing with Bounded
//! Loads" (Mirrokni, Thorup and Zadimoghaddam, 2016). Other nodes take what is passed over up to the mean only: with a key
//! that all requests share, the bound would else fill some nodes and leave others empty.

use siphasher::sip::SipHasher13;

use super::{Candidate, Candidates, Tier, Turn};
use crate::mix::mix;

/// A request's preference among the nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preference {
    /// The hash of what requests that belong together have in common.
    pub key: u64,
    /// The load relative to the mean up to which a node gets its keys' requests.
    pub bound: f64,
}

/// The candidate that gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferred {
    pub place: usize,
    /// It is the first in the order of the request's key.
    pub is_home: bool,
}

/// SipHash-1-3 of a node's name, the same in every gateway and version.
pub fn name_hash(name: &str) -> u64 {
    SipHasher13::new().hash(name.as_bytes())
}

impl Preference {
    /// The candidate that gets the request, among those of the lowest tier: the first in the key's order, unless that is full or
    /// above its bound. Then the next one that is not above the mean, or else the least loaded. See [`super::choose`].
    pub fn choose(
        self,
        candidates: &mut Candidates,
        last: Tier,
        skip: &[usize],
        turn: &mut Turn,
    ) -> Option<Preferred> {
        let pool = Load::of(candidates, last, skip)?;
        if let Some(first) = self.first(candidates, &pool, skip) {
            return Some(first);
        }
        let place = candidates.least_loaded(last, skip, turn.cursor)?;
        turn.cursor = place + 1;
        Some(Preferred { place, is_home: false })
    }

    fn first(self, candidates: &Candidates, pool: &Load, skip: &[usize]) -> Option<Preferred> {
        let (mut home, mut home_score) = (None, f64::INFINITY);
        let (mut next, mut next_score) = (None, f64::INFINITY);
        for (place, candidate) in candidates.iter().enumerate() {
            let uniform = self.uniform(candidate);
            // -ln(u) is at least 1 - u, and in the same order: few nodes need the logarithm, equal ones none
            let at_least = (1.0 - uniform) * candidate.inverse_rate;
            if at_least >= next_score || candidate.tier != pool.tier || skip.contains(&place) {
                continue;
            }
            let score = if pool.is_even { at_least } else { -uniform.ln() * candidate.inverse_rate };
            if score < home_score {
                (home, home_score) = (Some(place), score);
            }
            if score < next_score && candidate.has_room() && pool.has_at_most(candidate, 1.0, 1e-9) {
                (next, next_score) = (Some(place), score);
            }
        }
        let takes_more = |place: &usize| {
            let candidate = &candidates[*place];
            candidate.has_room() && pool.has_at_most(candidate, self.bound, 1.0)
        };
        match home.filter(takes_more) {
            Some(place) => Some(Preferred { place, is_home: true }),
            None => next.map(|place| Preferred { place, is_home: false }),
        }
    }

    /// The number between 0 and 1 for this key and node.
    fn uniform(self, candidate: &Candidate) -> f64 {
        const DIGITS: u32 = f64::MANTISSA_DIGITS;
        let hash = mix(self.key ^ candidate.name) >> (u64::BITS - DIGITS);
        (hash as f64 + 0.5) / (1_u64 << DIGITS) as f64
    }
}

/// The load of all nodes that may be used.
struct Load {
    in_flight: f64,
    rate: f64,
    /// All rates are the same.
    is_even: bool,
    /// The lowest tier in which one can be chosen.
    tier: Tier,
}

impl Load {
    /// `None`: none may be chosen.
    fn of(candidates: &Candidates, last: Tier, skip: &[usize]) -> Option<Self> {
        let mut all = Self { in_flight: 0.0, rate: 0.0, is_even: true, tier: Tier::Never };
        let mut usual = None;
        for (place, candidate) in candidates.iter().enumerate() {
            if candidate.tier > last {
                continue;
            }
            all.in_flight += candidate.load();
            all.rate += candidate.inverse_rate.recip();
            all.is_even &= *usual.get_or_insert(candidate.inverse_rate) == candidate.inverse_rate;
            if candidate.tier < all.tier && candidate.has_room() && !skip.contains(&place) {
                all.tier = candidate.tier;
            }
        }
        (all.tier <= last).then_some(all)
    }

    /// The node has at most `times` its share of the load, and so many requests `more`.
    fn has_at_most(&self, candidate: &Candidate, times: f64, more: f64) -> bool {
        let scale = self.rate * candidate.inverse_rate;
        (candidate.load() - more) * scale <= times * self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn node(number: usize, in_flight: u32, weight: f64) -> Candidate {
        Candidate {
            in_flight,
            elsewhere: 0,
            work: None,
            limit: u32::MAX,
            inverse_rate: 1.0 / weight,
            tier: Tier::Usable,
            turn: Candidate::NO_TURN,
            name: name_hash(&format!("node-{number}")),
        }
    }

    fn idle(weights: &[f64]) -> Candidates {
        weights.iter().enumerate().map(|(number, weight)| node(number, 0, *weight)).collect()
    }

    fn chosen(key: u64, candidates: &Candidates, skip: &[usize]) -> Option<usize> {
        let preference = Preference { key, bound: 1.25 };
        let preferred = preference.choose(&mut candidates.clone(), Tier::Busy, skip, &mut Turn::default());
        preferred.map(|preferred| preferred.place)
    }

    /// Old and new gateways must agree while a fleet of them is upgraded one by one.
    #[test]
    fn hashes_are_the_same_in_every_version() {
        assert_eq!(name_hash("a"), 0x4074_48d2_b89b_1813);
        assert_eq!(name_hash("192.168.0.150:9997"), 0xa5dc_8717_4a7f_6f84);
        let nodes = idle(&[1.0, 1.0, 2.0, 0.5]);
        let homes: Vec<_> = (0..12).map(|key| chosen(key, &nodes, &[]).unwrap()).collect();
        assert_eq!(homes, [0, 2, 0, 0, 1, 2, 2, 2, 1, 1, 1, 0]);
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let weights = [1.0, 2.0, 4.0, 0.5];
        let nodes = idle(&weights);
        let mut counts = [0.0; 4];
        for key in 0..30_000 {
            counts[chosen(mix(key), &nodes, &[]).unwrap()] += 1.0;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let want = weight * 4000.0;
            assert!((count / want - 1.0_f64).abs() < 0.05, "{counts:?}");
        }
    }

    #[test]
    fn one_key_for_all_loads_all_nodes() {
        let mut nodes = idle(&[1.0; 8]);
        for _ in 0..800 {
            let place = chosen(7, &nodes, &[]).unwrap();
            nodes.update(place, |node| node.in_flight += 1);
        }
        let mut loads: Vec<_> = nodes.iter().map(|node| node.in_flight).collect();
        loads.sort_unstable();
        assert!(loads[7] >= 120 && loads[7] <= 127 && loads[6] <= 101 && loads[0] >= 70, "{loads:?}");
    }

    /// Others' keys stay where they are, however loaded that node is.
    #[test]
    fn a_node_above_its_bound_moves_its_own_keys_alone() {
        let calm = idle(&[1.0; 8]);
        let mut one_high = calm.clone();
        one_high.update(3, |node| node.in_flight = 50);
        for key in (0..2000).map(mix) {
            let (before, after) = (chosen(key, &calm, &[]), chosen(key, &one_high, &[]));
            assert_eq!(before == after, before != Some(3));
            assert_eq!(chosen(key, &calm, &[3]), after, "the next one by hash");
        }
    }

    #[test]
    fn a_lower_tier_goes_first_and_its_least_loaded_where_all_are_above_their_bound() {
        let mut nodes = idle(&[1.0; 4]);
        nodes.update(1, |node| node.tier = Tier::Probe);
        assert!((0..50).all(|key| chosen(key, &nodes, &[]) == Some(1)));
        nodes.update(1, |node| (node.tier, node.in_flight) = (Tier::Probe, 90));
        assert!((0..50).all(|key| chosen(key, &nodes, &[]) == Some(1)), "far above its bound");
        nodes.update(1, |node| node.tier = Tier::LastResort);
        (0..50).for_each(|key| assert_ne!(chosen(key, &nodes, &[]), Some(1)));
        assert_eq!(chosen(1, &nodes, &[0, 2, 3]), None, "a last resort needs permission");
        nodes.update(0, |node| (node.in_flight, node.limit) = (2, 2));
        nodes.update(2, |node| node.in_flight = 40);
        nodes.update(3, |node| node.in_flight = 50);
        assert!((0..50).all(|key| chosen(key, &nodes, &[]) == Some(2)), "the other ones are full or fuller");
    }

    prop_compose! {
        fn any_node()(
            in_flight in 0_u32..20,
            elsewhere in select(vec![0_u32, 0, 0, 7, 30]),
            limit in select(vec![1_u32, 10, u32::MAX]),
            weight in select(vec![1.0, 1.0, 2.0, 0.3]),
            tier in select(vec![Tier::Probe, Tier::Usable, Tier::Usable, Tier::Usable, Tier::Busy, Tier::LastResort, Tier::Never]),
        ) -> Candidate {
            Candidate { elsewhere, limit, tier, ..node(0, in_flight, weight) }
        }
    }

    proptest! {
        #[test]
        fn a_node_that_leaves_moves_its_own_keys_alone(count in 2_usize..20, key: u64, leaves in 0_usize..20) {
            let weights: Vec<_> = (0..count).map(|number| [1.0, 0.5, 3.0][number % 3]).collect();
            let nodes = idle(&weights);
            let mut fewer = nodes.clone();
            fewer.update(leaves % count, |node| node.tier = Tier::Never);
            let (before, after) = (chosen(key, &nodes, &[]), chosen(key, &fewer, &[]));
            prop_assert!(before == after || before == Some(leaves % count));
            prop_assert_ne!(after, Some(leaves % count));
        }

        /// Two gateways agree whatever the order in their configs.
        #[test]
        fn the_order_of_the_nodes_does_not_matter(count in 1_usize..20, key: u64, by in 0_usize..20) {
            let order: Vec<_> = (0..count).map(|place| (place + by) % count).collect();
            let turned: Candidates = order.iter().map(|number| node(*number, 0, 1.0)).collect();
            let here = chosen(key, &idle(&vec![1.0; count]), &[]);
            prop_assert_eq!(here, chosen(key, &turned, &[]).map(|place| order[place]));
        }

        /// By brute force, from all scores.
        #[test]
        fn the_first_that_may_be_taken(nodes in vec(any_node(), 1..12), skip in vec(0_usize..12, 0..3), key: u64) {
            let candidates: Candidates = nodes.iter().enumerate()
                .map(|(number, candidate)| Candidate { name: node(number, 0, 1.0).name, ..*candidate }).collect();
            let usable: Vec<_> = candidates.iter().filter(|node| node.tier <= Tier::Busy).collect();
            let total: f64 = usable.iter().map(|node| node.load()).sum();
            let rate: f64 = usable.iter().map(|node| 1.0 / node.inverse_rate).sum();
            let may = |place: &usize| {
                let node = &candidates[*place];
                node.tier <= Tier::Busy && node.has_room() && !skip.contains(place)
            };
            let tier = (0..candidates.len()).filter(may).map(|place| candidates[place].tier).min();
            let is_of_tier = |place: &usize| Some(candidates[*place].tier) == tier && !skip.contains(place);
            let mut of_tier: Vec<_> = (0..candidates.len()).filter(is_of_tier).collect();
            let is_within = |place: &usize, times: f64, more: f64| {
                let node = &candidates[*place];
                node.load() <= times * total / rate / node.inverse_rate + more
            };
            let score = |place: &usize| {
                let node = &candidates[*place];
                let uniform = ((mix(key ^ node.name) >> 11) as f64 + 0.5) / 2_f64.powi(53);
                -uniform.ln() * node.inverse_rate
            };
            of_tier.sort_by(|a, b| score(a).total_cmp(&score(b)));
            let home = of_tier.first().filter(|home| may(home) && is_within(home, 1.25, 1.0));
            let first = home.or_else(|| of_tier.iter().find(|place| may(place) && is_within(place, 1.0, 1e-9)));
            let load = |place: &usize| candidates[*place].score();
            let least = of_tier.iter().filter(|place| may(place)).min_by(|a, b| load(a).total_cmp(&load(b)));
            let got = chosen(key, &candidates, &skip);
            match first {
                Some(_) => prop_assert_eq!(got, first.copied()),
                None => prop_assert_eq!(got.map(|place| load(&place)), least.map(load)),
            }
        }
    }
}
