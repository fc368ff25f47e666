//! A model that is shared between pools: the pool for one request.

use std::time::Instant;

use crate::fleet::{Fleet, Member};
use crate::mix::mix;

/// The lot of a request, and the time at which it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The key of its session, or a random number.
    pub key: u64,
    pub now: Instant,
}

/// The pool of the request; another one of them if no node of that is up.
pub(super) fn pool<'a>(fleet: &'a Fleet, shares: &[(usize, u32)], draw: Draw) -> Option<&'a Member> {
    let drawn = drawn(shares, draw.key)?;
    let others = shares.iter().map(|(place, _)| *place).filter(|place| *place != drawn);
    let mut all = std::iter::once(drawn).chain(others).filter_map(|place| fleet.pools.get(place));
    all.find(|member| member.pool.is_up(draw.now)).or_else(|| fleet.pools.get(drawn))
}

/// Requests with one key have one pool, in every gateway.
fn drawn(shares: &[(usize, u32)], key: u64) -> Option<usize> {
    let whole: u64 = shares.iter().map(|(_, share)| u64::from(*share)).sum();
    let mut point = (u128::from(mix(key)) * u128::from(whole)) >> u64::BITS;
    shares.iter().find_map(|(place, share)| {
        let share = u128::from(*share);
        let is_here = point < share;
        point = point.saturating_sub(share);
        is_here.then_some(*place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::fleet::Order;

    #[test]
    fn each_pool_has_its_part() {
        let shares = [(3, 95), (1, 0), (0, 5)];
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = [0; 4];
        for _ in 0..100_000 {
            counts[drawn(&shares, random.u64(..)).expect("a pool")] += 1;
        }
        assert!((94_500..95_500).contains(&counts[3]) && counts[1] == 0, "{counts:?}");
        assert_eq!(drawn(&[], 1), None);
        assert!([0, 1, u64::MAX].map(|key| drawn(&shares, key)).iter().all(Option::is_some));
    }

    /// Old and new gateways must agree while a fleet of them is upgraded one by one.
    #[test]
    fn lots_are_the_same_in_every_version() {
        let lots = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|key| drawn(&[(3, 50), (1, 30), (0, 20)], key));
        assert_eq!(lots, [0, 1, 1, 3, 3, 3, 1, 3, 1, 1, 3, 3].map(Some));
    }

    #[test]
    fn another_pool_serves_what_the_drawn_one_cannot() {
        let text = "server: { listen: 127.0.0.1:1 }\nsplits: { m: { a: 100, b: 0 } }\npools:\n  \
                    a: { nodes: [10.0.0.1:1] }\n  b: { nodes: [10.0.0.1:2], models: off }\n";
        let now = Instant::now();
        let fleet = Fleet::first(Config::parse(text, "t").expect("a config"), now);
        let shares = fleet.split("m").expect("a split");
        let name = || pool(&fleet, shares, Draw { key: 1, now }).map(|member| member.conf.name.clone());
        assert_eq!(name().as_deref(), Some("a"));
        let eject = |place: usize, node: &str| {
            let _ = fleet.pools[place].pool.obey(node, Order::Drain, now).expect("a node");
        };
        eject(0, "10.0.0.1:1");
        assert_eq!(name().as_deref(), Some("b"));
        eject(1, "10.0.0.1:2");
        assert_eq!(name().as_deref(), Some("a"), "if none can, it waits where it belongs");
    }
}
