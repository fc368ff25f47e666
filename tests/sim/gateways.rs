//! Three gateways that share the caps of the same nodes, in virtual time: their pools as they are, a plain ledger between them.
//!
//! At every step: what all have in flight on a node is no more than its cap, and what each has is no more than the ledger knows of;
//! nobody waits where there is a slot of its gateway's own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use evenkeel::config::{self, MaxInFlight};
use evenkeel::fleet::{
    Admission, Allow, Ask, Bell, Changed, Lease, Pool, Profile, Refusal, Shared, Waiter, Want,
};
use evenkeel::outcome::Outcome;
use fastrand::Rng;

use crate::fleet::Plan;

const GATEWAYS: usize = 3;
const NODES: usize = 4;
const STEP: Duration = Duration::from_millis(10);
/// Of a request, in steps.
const MEAN: f64 = 200.0;
/// Each gateway's exchange, in steps.
const INTERVAL: u64 = 10;

struct Waiting {
    waiter: Option<Box<Waiter>>,
    changed: Changed,
}

struct Gateway {
    pool: Arc<Pool>,
    bell: Arc<Bell>,
    /// Each with the step in which it ends.
    open: Vec<(u64, Lease)>,
    waiting: Vec<Waiting>,
    /// Exchanges fail until this step.
    alone_until: u64,
}

/// The credits of each gateway, and what it has in flight as far as the ledger knows; by node.
struct Ledger {
    caps: [u32; NODES],
    held: [[u32; NODES]; GATEWAYS],
    in_flight: [[u32; NODES]; GATEWAYS],
}

struct World {
    rng: Rng,
    start: Instant,
    step: u64,
    gateways: Vec<Gateway>,
    ledger: Ledger,
    served: u64,
    waited: u64,
}

fn ask(pool: &Pool) -> Ask {
    Ask {
        want: Want::other_than(Vec::new()),
        admission: Admission::Below(usize::MAX),
        profile: Profile::default(),
        news: pool.news(),
    }
}

fn is_woken(changed: &mut Changed) -> bool {
    Pin::new(changed).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (start, cap) = (Instant::now(), rng.u32(1..13));
        let mut conf: config::Pool = Plan::calm(NODES, 1).conf;
        conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(cap as usize));
        let gateway = |_| {
            let (pool, bell) = (Arc::new(Pool::new(&conf, start)), Arc::default());
            pool.join(Some(&bell), start);
            Gateway { pool, bell, open: Vec::new(), waiting: Vec::new(), alone_until: 0 }
        };
        let ledger = Ledger { caps: [cap; NODES], held: Default::default(), in_flight: Default::default() };
        let gateways = (0..GATEWAYS).map(gateway).collect();
        Self { rng, start, step: 0, gateways, ledger, served: 0, waited: 0 }
    }

    fn now(&self) -> Instant {
        self.start + STEP * u32::try_from(self.step).expect("a short life")
    }

    fn shares(&self, gateway: usize) -> Vec<Shared> {
        self.gateways[gateway].pool.shares(self.now())
    }

    /// A request comes to this gateway.
    fn come(&mut self, place: usize) {
        let (now, gateway) = (self.now(), &mut self.gateways[place]);
        let mut waiter = None;
        match gateway.pool.wait(&mut waiter, ask(&gateway.pool), now) {
            Some(Ok(lease)) => self.begin(place, lease),
            Some(Err(Refusal::Full)) => {
                let changed = waiter.as_ref().expect("a place").changed();
                gateway.waiting.push(Waiting { waiter, changed });
                self.waited += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, place: usize, lease: Lease) {
        let takes = -f64::ln(1.0 - self.rng.f64()) * MEAN;
        self.gateways[place].open.push((self.step + 1 + takes as u64, lease));
    }

    /// Requests end, and those that wait find what was handed to them.
    fn serve(&mut self, place: usize) {
        let (now, step) = (self.now(), self.step);
        let gateway = &mut self.gateways[place];
        let (ended, open) =
            std::mem::take(&mut gateway.open).into_iter().partition(|(end, _): &(u64, Lease)| *end <= step);
        gateway.open = open;
        for (_, lease) in Vec::from_iter::<Vec<(u64, Lease)>>(ended) {
            lease.settle(Outcome::Ok, now);
            self.served += 1;
        }
        let mut found = Vec::new();
        let gateway = &mut self.gateways[place];
        gateway.waiting.retain_mut(|one| {
            if !is_woken(&mut one.changed) {
                return true;
            }
            let Some(Ok(lease)) = gateway.pool.wait(&mut one.waiter, ask(&gateway.pool), now) else {
                return true;
            };
            found.push(lease);
            false
        });
        found.into_iter().for_each(|lease| self.begin(place, lease));
    }

    /// Gives back what is too much, takes what is wanted and free, and hears of the others.
    fn exchange(&mut self, place: usize) {
        let (now, shares) = (self.now(), self.shares(place));
        let mut allowed = Vec::new();
        for (node, share) in shares.iter().enumerate() {
            let ledger = &self.ledger;
            let of_others = |of: &[[u32; NODES]; GATEWAYS]| {
                (0..GATEWAYS).filter(|other| *other != place).map(|other| of[other][node]).sum::<u32>()
            };
            let free = ledger.caps[node] - of_others(&ledger.held);
            let spread = self.rng.u32(0..=ledger.caps[node]);
            let wanted = (share.in_flight + share.waiting[1]).min(share.usable).max(share.in_flight);
            // more or less than it needs, so that something moves
            let held = if self.rng.bool() { wanted } else { spread }.min(free);
            allowed.push((share.key, Allow { held: Some(held), elsewhere: of_others(&ledger.in_flight) }));
        }
        let held = self.gateways[place].pool.credit(&allowed, now);
        for (node, share) in self.shares(place).iter().enumerate() {
            assert!(held[node] >= allowed[node].1.held.unwrap_or(0) && held[node] == share.held);
            (self.ledger.held[place][node], self.ledger.in_flight[place][node]) =
                (held[node], share.in_flight);
        }
    }

    fn check(&mut self) {
        let shares: Vec<_> = (0..GATEWAYS).map(|place| self.shares(place)).collect();
        for node in 0..NODES {
            let all: u32 = shares.iter().map(|shares| shares[node].in_flight).sum();
            assert!(all <= self.ledger.caps[node], "{all} of {}", self.ledger.caps[node]);
        }
        for (place, shares) in shares.iter().enumerate() {
            for (node, share) in shares.iter().enumerate() {
                let known = self.ledger.held[place][node];
                assert!(share.in_flight <= known && share.held <= known, "{share:?}, known {known}");
            }
            let waits = self.gateways[place].waiting.len() as u32;
            let told: u32 = shares[0].waiting.iter().sum();
            assert!(told >= waits.div_ceil(NODES as u32) && told <= waits, "{told} of {waits}");
            let has_room = shares.iter().any(|share| share.in_flight < share.held);
            assert!(!has_room || waits == 0, "{waits} wait at gateway {place}: {shares:?}");
        }
    }

    fn live(&mut self, steps: u64, busy: bool) {
        // more than the nodes can serve, at times
        let most = f64::from(self.ledger.caps.iter().sum::<u32>()) / MEAN / 2.0;
        let rates: [f64; GATEWAYS] = std::array::from_fn(|_| self.rng.f64() * most);
        for _ in 0..steps {
            if !busy && self.left() == 0 {
                return;
            }
            self.step += 1;
            for (place, rate) in rates.into_iter().enumerate() {
                self.serve(place);
                if busy && self.rng.f64() < rate {
                    self.come(place);
                }
                if busy && self.rng.f64() < 0.0005 {
                    self.gateways[place].alone_until = self.step + self.rng.u64(100..2000);
                }
                let is_asked = self.hears_bell(place) && self.rng.bool();
                let is_due = self.step % INTERVAL == place as u64 || is_asked;
                if is_due && (!busy || self.step >= self.gateways[place].alone_until) {
                    self.exchange(place);
                    self.serve(place);
                }
            }
            self.check();
        }
    }

    /// Requests that have not ended.
    fn left(&self) -> usize {
        self.gateways.iter().map(|gateway| gateway.waiting.len() + gateway.open.len()).sum()
    }

    fn hears_bell(&self, place: usize) -> bool {
        let mut heard = std::pin::pin!(self.gateways[place].bell.rung());
        heard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

#[test]
fn gateways_never_have_more_than_the_cap_and_forget_nobody() {
    let (mut served, mut waited) = (0, 0);
    for seed in 1..=20 {
        let mut world = World::new(seed);
        world.live(3000, true);
        world.live(100_000, false);
        assert_eq!(world.left(), 0, "seed {seed}: all are served in the end");
        served += world.served;
        waited += world.waited;
    }
    println!("20 lives of three gateways: {served} requests, of which {waited} waited");
    assert!(waited > served / 10);
}

/// Without caps nothing is held, and the load of others still evens out what one gateway alone does not see.
#[test]
fn gateways_spread_their_load_over_the_nodes_together() {
    let mut conf = Plan::calm(NODES, 1).conf;
    conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Off);
    let now = Instant::now();
    let pools: Vec<_> = (0..GATEWAYS).map(|_| Arc::new(Pool::new(&conf, now))).collect();
    pools.iter().for_each(|pool| pool.join(Some(&Arc::default()), now));
    let mut leases = Vec::new();
    for round in 0..30 {
        // one gateway has ten requests, the others one
        for (place, pool) in pools.iter().enumerate() {
            let count = if place == round % GATEWAYS { 10 } else { 1 };
            leases.extend((0..count).map(|_| pool.lease(&[], now).expect("a node")));
        }
        let counts: Vec<Vec<_>> = pools.iter().map(|pool| pool.shares(now)).collect();
        for (place, pool) in pools.iter().enumerate() {
            let others = |node: usize| {
                (0..GATEWAYS).filter(|other| *other != place).map(|other| counts[other][node].in_flight).sum()
            };
            let allowed = (0..NODES)
                .map(|node| (counts[place][node].key, Allow { held: None, elsewhere: others(node) }))
                .collect::<Vec<_>>();
            assert_eq!(pool.credit(&allowed, now), [0; NODES]);
        }
    }
    let counts: Vec<Vec<_>> = pools.iter().map(|pool| pool.shares(now)).collect();
    let all: Vec<u32> =
        (0..NODES).map(|node| counts.iter().map(|shares| shares[node].in_flight).sum()).collect();
    println!("360 requests of three gateways: {all:?}");
    assert!(all.iter().all(|count| count.abs_diff(90) <= 2), "{all:?}");
}
