//! Request bodies that are still arriving, and their room in `retry.body_total`.
//!
//! A body that nobody finishes would take the room of those that are. So bodies that have not come to their end have a part of
//! it only: those of one client together, and the large ones of all, beside which small ones always have room. And one that
//! has stalled gives way when another needs what it holds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::gauge::Share;

/// A body has stalled when it has not come by this many bytes...
const STEP: u64 = 16 * 1024;
/// ...in this time: slower than 32 KiB/s, which is no harm unless the room is needed.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// All bodies that are arriving.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    bodies: HashMap<u64, Body>,
    /// Bytes by client.
    held: HashMap<IpAddr, u64>,
    /// Bytes of large bodies.
    large: u64,
}

#[derive(Debug)]
struct Body {
    client: IpAddr,
    share: Share,
    /// Bytes that count as those of a large body: none or all.
    large: u64,
    /// Bytes that have come since `moved`.
    step: u64,
    moved: Instant,
    waker: Option<Waker>,
}

/// One of them. It gives its room back when it is dropped.
#[derive(Debug)]
pub struct Arriving {
    arrivals: Arrivals,
    id: u64,
}

/// The most bytes that bodies may take up.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// All of them, whether they have ended or not.
    pub total: u64,
    /// Those of one client that have not.
    pub client: u64,
    /// Those that have not and are large.
    pub large: u64,
    /// The size above which a body is large.
    pub large_from: u64,
}

impl Room {
    /// Of these bytes for all bodies and for a single one. One body has always room.
    pub fn of(total: u64, single: u64) -> Self {
        let large_from = (total / 64).max(1 << 20).min(total / 4);
        Self { total, client: (total / 4 * 3).max(single), large: (total / 2).max(single), large_from }
    }
}

/// The answer to a body that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    Fits,
    /// There is no room for it.
    Full,
    /// It had stalled, and its room was given to another.
    Lost,
}

impl Arrivals {
    /// A body of this client has begun; `share` is its room, which is still empty.
    pub fn begin(&self, client: IpAddr, share: Share, now: Instant) -> Arriving {
        let mut table = self.0.lock();
        table.last += 1;
        let id = table.last;
        let client = network(client);
        table.bodies.insert(id, Body { client, share, large: 0, step: 0, moved: now, waker: None });
        Arriving { arrivals: self.clone(), id }
    }
}

impl Arriving {
    /// This many bytes more have come.
    pub fn grow(&self, more: u64, room: Room, now: Instant) -> Growth {
        self.arrivals.0.lock().grow(self.id, more, room, now)
    }

    /// Resolves when its room has been given to another.
    pub fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.arrivals.0.lock().bodies.get_mut(&self.id) {
            Some(body) => {
                body.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// The body arrives no longer. Its room, unless it was given to another.
    pub fn finish(self) -> Option<Share> {
        self.arrivals.0.lock().remove(self.id).map(|body| body.share)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.arrivals.0.lock().remove(self.id);
    }
}

impl Table {
    fn grow(&mut self, id: u64, more: u64, room: Room, now: Instant) -> Growth {
        loop {
            let Some(body) = self.bodies.get_mut(&id) else { return Growth::Lost };
            let size = body.share.amount + more;
            let is_large = body.large > 0 || size > room.large_from;
            let more_large = if is_large { size - body.large } else { 0 };
            let held = self.held.entry(body.client).or_default();
            let client = body.client;
            let has_part = *held + more <= room.client;
            let has_large_part = !is_large || self.large + more_large <= room.large;
            if has_part && has_large_part && body.share.grow(more, room.total) {
                *held += more;
                self.large += more_large;
                body.large += more_large;
                body.step += more;
                if body.step >= STEP {
                    (body.step, body.moved) = (0, now);
                }
                return Growth::Fits;
            }
            // only one that holds what is wanting can give way
            let helps = |other: &Body| {
                (has_part || other.client == client) && (!has_part || has_large_part || other.large > 0)
            };
            let Some(stalled) = self.largest_stalled(id, helps, now) else { return Growth::Full };
            if let Some(waker) = self.remove(stalled).and_then(|body| body.waker) {
                waker.wake();
            }
        }
    }

    fn largest_stalled(&self, but: u64, helps: impl Fn(&Body) -> bool, now: Instant) -> Option<u64> {
        let others = self.bodies.iter().filter(|(id, body)| {
            let has_stalled = now.saturating_duration_since(body.moved) >= STALLED_AFTER;
            **id != but && has_stalled && body.share.amount > 0 && helps(body)
        });
        others.max_by_key(|(_, body)| body.share.amount).map(|(id, _)| *id)
    }

    fn remove(&mut self, id: u64) -> Option<Body> {
        let body = self.bodies.remove(&id)?;
        self.large -= body.large;
        if let Some(held) = self.held.get_mut(&body.client) {
            *held -= body.share.amount;
            if *held == 0 {
                self.held.remove(&body.client);
            }
        }
        Some(body)
    }
}

/// The address, or the network of a single customer: whoever has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::gauge::Gauge;
    use super::*;

    const ROOM: Room = Room { total: 100_000, client: 60_000, large: 100_000, large_from: 100_000 };

    struct World {
        kept: Gauge,
        arrivals: Arrivals,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { kept: Gauge::default(), arrivals: Arrivals::default(), start: Instant::now() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn body(&self, client: &str, ms: u64) -> Arriving {
            let client = client.parse().expect("an address");
            self.arrivals.begin(client, self.kept.add(0), self.at(ms))
        }
    }

    fn is_lost(body: &Arriving) -> bool {
        body.poll_lost(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_client_has_its_part_of_the_room_and_finished_bodies_do_not_count() {
        let world = World::new();
        let [a, b, other] =
            [("10.0.0.1", 0), ("10.0.0.1", 0), ("10.0.0.2", 0)].map(|(c, at)| world.body(c, at));
        assert_eq!(a.grow(40_000, ROOM, world.at(1)), Growth::Fits);
        assert_eq!(b.grow(40_000, ROOM, world.at(1)), Growth::Full, "of 60000 for one client");
        assert_eq!(other.grow(40_000, ROOM, world.at(1)), Growth::Fits);
        let finished = a.finish().expect("its room");
        assert_eq!(b.grow(20_000, ROOM, world.at(1)), Growth::Fits);
        assert_eq!(world.kept.value(), 100_000);
        assert_eq!(b.grow(1, ROOM, world.at(1)), Growth::Full, "of 100000 for all");
        drop((b, other));
        assert_eq!(world.kept.value(), 40_000);
        drop(finished);
        assert_eq!(world.kept.value(), 0);
        assert!(world.arrivals.0.lock().held.is_empty());
    }

    #[test]
    fn a_stalled_body_gives_way_the_largest_first_and_no_more_than_needed() {
        let world = World::new();
        let [small, large, quick] =
            [("10.0.0.1", 0), ("10.0.0.2", 0), ("10.0.0.3", 0)].map(|(c, at)| world.body(c, at));
        assert_eq!(small.grow(30_000, ROOM, world.at(0)), Growth::Fits);
        assert_eq!(large.grow(40_000, ROOM, world.at(0)), Growth::Fits);
        assert_eq!(quick.grow(30_000, ROOM, world.at(400)), Growth::Fits);
        let needy = world.body("10.0.0.4", 400);
        assert_eq!(needy.grow(20_000, ROOM, world.at(499)), Growth::Full);
        // a byte now and then is no progress
        assert_eq!(large.grow(0, ROOM, world.at(499)), Growth::Fits);
        assert_eq!(needy.grow(20_000, ROOM, world.at(500)), Growth::Fits);
        assert!(is_lost(&large) && !is_lost(&small) && !is_lost(&quick));
        assert_eq!(large.grow(1, ROOM, world.at(500)), Growth::Lost);
        assert_eq!(world.kept.value(), 80_000);
        assert!(large.finish().is_none());
    }

    #[test]
    fn a_client_that_has_used_up_its_part_displaces_nobody_else() {
        let world = World::new();
        let [other, mine, next] =
            [("10.0.0.1", 0), ("10.0.0.2", 0), ("10.0.0.2", 0)].map(|(c, at)| world.body(c, at));
        assert_eq!(other.grow(30_000, ROOM, world.at(0)), Growth::Fits);
        assert_eq!(mine.grow(20_000, ROOM, world.at(0)), Growth::Fits);
        assert_eq!(next.grow(50_000, ROOM, world.at(600)), Growth::Fits);
        assert!(is_lost(&mine) && !is_lost(&other));
        assert_eq!(next.grow(20_000, ROOM, world.at(600)), Growth::Full);
        assert!(!is_lost(&other));
    }

    #[test]
    fn large_bodies_have_a_part_and_small_ones_the_rest() {
        let world = World::new();
        let room = Room { total: 100_000, client: 100_000, large: 50_000, large_from: 10_000 };
        let [first, second, small] = ["10.0.0.1"; 3].map(|client| world.body(client, 0));
        assert_eq!(first.grow(10_000, room, world.at(0)), Growth::Fits);
        assert_eq!(first.grow(35_000, room, world.at(1)), Growth::Fits);
        assert_eq!(second.grow(10_000, room, world.at(1)), Growth::Fits, "it is small");
        assert_eq!(
            second.grow(1, room, world.at(1)),
            Growth::Full,
            "45000 of 50000 are used, and it has 10001"
        );
        assert_eq!(small.grow(10_000, room, world.at(600)), Growth::Fits);
        assert!(!is_lost(&first), "small ones need nothing of it");
        assert_eq!(second.grow(30_000, room, world.at(600)), Growth::Fits);
        assert!(is_lost(&first) && !is_lost(&small), "it has stalled, and is the one that is large");
        drop((first, second, small));
        assert_eq!((world.kept.value(), world.arrivals.0.lock().large), (0, 0));
    }

    #[test]
    fn a_room_has_its_parts() {
        let mib = |count: u64| count << 20;
        for (total, single, client, large, large_from) in [
            (mib(1024), mib(32), mib(768), mib(512), mib(16)),
            (mib(64), mib(32), mib(48), mib(32), mib(1)),
            (mib(32), mib(32), mib(32), mib(32), mib(1)),
            (mib(1), mib(1), mib(1), mib(1), mib(1) / 4),
            (0, 0, 0, 0, 0),
        ] {
            let room = Room::of(total, single);
            assert_eq!((room.client, room.large, room.large_from), (client, large, large_from), "{total}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        for (one, other, is_same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            let [one, other] = [one, other].map(|text| network(text.parse().expect("an address")));
            assert_eq!(one == other, is_same, "{one} {other}");
        }
    }
}
