//! Whole fleets in virtual time: random nodes, random weather, clients that never stop asking; the gateway's own
//! decisions in between. Hours of fleet life take milliseconds, and a seed tells it all again:
//!
//! ```text
//! EVENKEEL_SEED=17 cargo test --test sim
//! ```

mod attempt;
mod chats;
mod client;
mod cluster;
mod fleet;
mod gateways;
mod goodput;
mod handover;
mod herd;
mod invariants;
mod node;
mod scripted;
mod silence;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::World;

/// Random fleets of one run; `EVENKEEL_FLEETS` asks for more.
const FLEETS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_fleets() {
    if let Some(seed) = number("EVENKEEL_SEED") {
        println!("{:#?}", fleet::Plan::random(seed));
        println!("{}", life(seed));
        return;
    }
    let fleets = number("EVENKEEL_FLEETS").unwrap_or(FLEETS);
    let next = AtomicU64::new(1);
    let events = AtomicU64::new(0);
    let hours = AtomicU64::new(0);
    let [ejections, stalls, given_up] = [const { AtomicU64::new(0) }; 3];
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > fleets {
                return failed;
            }
            match catch_unwind(AssertUnwindSafe(|| life(seed))) {
                Ok(told) => {
                    events.fetch_add(told.events, Ordering::Relaxed);
                    ejections.fetch_add(told.ejections, Ordering::Relaxed);
                    stalls.fetch_add(told.stalls, Ordering::Relaxed);
                    given_up.fetch_add(told.given_up, Ordering::Relaxed);
                    hours.fetch_add(told.seconds / 3600, Ordering::Relaxed);
                }
                Err(_) => {
                    eprintln!("this fleet again: EVENKEEL_SEED={seed} cargo test --test sim");
                    failed.push(seed);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from).min(8);
    let mut failed: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("panics are caught inside")).collect()
    });
    failed.sort_unstable();
    println!(
        "{fleets} fleets, {events:?} events, {hours:?} virtual hours, {ejections:?} ejections, {stalls:?} of them as stalled, \
         with {given_up:?} attempts that went elsewhere"
    );
    assert!(
        failed.is_empty(),
        "{} of {fleets} fleets broke a promise: EVENKEEL_SEED={failed:?}",
        failed.len()
    );
}

/// The whole life of one fleet.
fn life(seed: u64) -> world::Told {
    let mut world = World::new(fleet::Plan::random(seed));
    world.run_weather();
    world.converge();
    world.settle_down();
    world.told()
}
