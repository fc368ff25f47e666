//! `max_in_flight: auto` against the best fixed cap of a sweep, and against none.

use evenkeel::config::MaxInFlight;

use super::scenes::{Job, gateway, scene, with_cap};
use crate::goodput::engines::{Told, run};
use crate::goodput::{ALL_TOLD, SLOW};

const SEEDS: [u64; 2] = [1, 2];

/// Makespans, relative to the best fixed cap's.
#[derive(Debug)]
struct Got {
    /// The first job of a process.
    first: f64,
    /// The third.
    learned: f64,
}

fn auto(job: Job, speeds: &[f64], told: Told, best: f64) -> Got {
    let (mut first, mut learned) = (0.0, 0.0);
    let mut caps = Vec::new();
    for seed in SEEDS {
        let scene = |seed| scene(job, speeds, told, seed);
        let mut gateway = gateway(&scene(seed), MaxInFlight::Auto);
        let mut after = |seed| {
            let wall = run(&scene(seed), &mut gateway).wall;
            caps = gateway.samples.last().map(|sample| sample.caps.clone()).unwrap_or_default();
            gateway.go_on(wall);
            wall
        };
        first += after(seed) / best;
        after(seed + 10);
        learned += after(seed) / best;
    }
    println!("  {told:?}: first {first:.3}, learned {learned:.3}, caps {caps:?}");
    Got { first, learned }
}

/// The best cap, its makespans together, and those without a cap, relative to it.
fn sweep(job: Job, speeds: &[f64], caps: &[usize]) -> (usize, f64, f64) {
    let wall = |cap: MaxInFlight| -> f64 {
        SEEDS.iter().map(|seed| with_cap(&scene(job, speeds, Told::Nothing, *seed), cap).wall).sum()
    };
    let all = caps.iter().map(|cap| (*cap, wall(MaxInFlight::Fixed(*cap))));
    let (cap, best) = all.min_by(|a, b| a.1.total_cmp(&b.1)).expect("caps");
    let none = wall(MaxInFlight::Off) / best;
    println!("{job:?} on {speeds:.1?}: best {cap} with {best:.1} s, none {none:.3}");
    (cap, best, none)
}

#[test]
fn print_all() {
    for job in Job::ALL {
        for speeds in [[1.0, 1.0], [SLOW, 1.0]] {
            let began = std::time::Instant::now();
            let (_, best, none) = sweep(job, &speeds, &[16, 24, 40, 56, 60, 64, 96, 128, 160]);
            println!("  took {:?}", began.elapsed());
            let best = best.min(best * none);
            for told in ALL_TOLD {
                auto(job, &speeds, told, best);
            }
            println!("  took {:?}", began.elapsed());
        }
    }
}
