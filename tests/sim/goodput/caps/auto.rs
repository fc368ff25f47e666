//! `max_in_flight: auto` against the best fixed cap of a sweep, and against none: makespans of jobs in virtual time.

use evenkeel::config::MaxInFlight;

use super::scenes::{Job, gateway, scene, with_cap};
use crate::goodput::engines::{Told, run};
use crate::goodput::{ALL_TOLD, SLOW};

const EQUAL: [f64; 2] = [1.0, 1.0];
const UNEQUAL: [f64; 2] = [SLOW, 1.0];

/// Makespans, relative to the best that is known: a fixed cap, or none.
#[derive(Debug)]
struct Got {
    none: f64,
    /// The first job of a process.
    first: f64,
    /// The third.
    learned: f64,
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / count
}

/// Runs a job on two nodes of these speeds: with these caps, with none, and with one that is learned, however the answers tell
/// of their work.
fn compare(job: Job, speeds: [f64; 2], caps: &[usize], seeds: &[u64]) -> Vec<Got> {
    let with =
        |cap| mean(seeds.iter().map(|seed| with_cap(&scene(job, &speeds, Told::Nothing, *seed), cap).wall));
    let all = caps.iter().map(|cap| (*cap, with(MaxInFlight::Fixed(*cap))));
    let (cap, fixed) = all.min_by(|a, b| a.1.total_cmp(&b.1)).expect("caps");
    let none = with(MaxInFlight::Off);
    let best = fixed.min(none);
    println!(
        "{job:?} on {speeds:.1?}: {fixed:.1} s with {cap}, {none:.1} s with none, {:.3} times the best",
        none / best
    );
    let auto = |told| {
        let (first, learned) = seeds
            .iter()
            .map(|seed| auto(job, speeds, told, *seed))
            .fold((0.0, 0.0), |sum, got| (sum.0 + got.0, sum.1 + got.1));
        let whole = best * seeds.len() as f64;
        let got = Got { none: none / best, first: first / whole, learned: learned / whole };
        println!("  {told:?}: first {:.3}, learned {:.3}", got.first, got.learned);
        got
    };
    ALL_TOLD.into_iter().map(auto).collect()
}

/// The makespan of the first and of the third job of one process.
fn auto(job: Job, speeds: [f64; 2], told: Told, seed: u64) -> (f64, f64) {
    let scene = |seed| scene(job, &speeds, told, seed);
    let mut gateway = gateway(&scene(seed), MaxInFlight::Auto);
    let walls = [seed, seed + 10, seed].map(|seed| {
        let wall = run(&scene(seed), &mut gateway).wall;
        gateway.go_on(wall);
        wall
    });
    (walls[0], walls[2])
}

/// Streams show what is too many, so they may cost less than whole answers.
fn assert_streams(speeds: [f64; 2], all: &[Got], first: f64, learned: f64) {
    let got = &all[0];
    assert!(got.first <= first && got.learned <= learned, "streams on {speeds:?}: {got:?}");
}

#[test]
fn where_no_cap_helps_it_finds_that_out() {
    for speeds in [EQUAL, UNEQUAL] {
        let all = compare(Job::Short, speeds, &[128, 160], &[1, 2, 3]);
        assert_streams(speeds, &all, 1.01, 1.01);
        for got in all {
            assert!(got.none <= 1.0 && got.first <= 1.08 && got.learned <= 1.03, "{speeds:?}: {got:?}");
        }
    }
}

#[test]
fn where_memory_is_full_it_finds_the_peak() {
    for speeds in [EQUAL, UNEQUAL] {
        let all = compare(Job::Answers, speeds, &[56, 60, 64], &[1]);
        assert_streams(speeds, &all, 1.05, 1.03);
        for got in all {
            assert!(got.none >= 1.2, "there is something to be won: {got:?}");
            assert!(got.first <= 1.07 && got.learned <= 1.03, "{speeds:?}: {got:?}");
        }
    }
}

#[test]
fn where_prompts_take_the_time_it_loses_nothing() {
    for speeds in [EQUAL, UNEQUAL] {
        let all = compare(Job::Prompts, speeds, &[16, 24, 40], &[1, 2]);
        assert_streams(speeds, &all, 1.02, 1.02);
        for got in all {
            assert!(got.first <= 1.05 && got.learned <= 1.03, "{speeds:?}: {got:?}");
        }
    }
}

/// Rates that wander by a tenth from one turnover to the next take longer to compare.
#[test]
fn where_sizes_are_heavy_tailed_it_comes_near() {
    for speeds in [EQUAL, UNEQUAL] {
        let all = compare(Job::Mixed, speeds, &[96, 128, 160], &[1, 2, 3, 4]);
        assert_streams(speeds, &all, 1.03, 1.03);
        for got in all {
            assert!(got.first <= 1.1 && got.learned <= 1.08, "{speeds:?}: {got:?}");
        }
    }
}

/// Mean and maximum.
fn spread(all: &[f64]) -> (f64, f64) {
    (mean(all.iter().copied()), all.iter().copied().fold(0.0, f64::max))
}

/// Seeds on which nothing was tuned.
const FRESH: [u64; 5] = [301, 302, 303, 304, 305];

/// Streams on two nodes of these speeds: for each seed the makespan of the first and of a later job, relative to the cap, or to
/// none, that is best for all of the seeds.
fn on_fresh_seeds(speeds: [f64; 2]) {
    let jobs = [
        (Job::Short, &[128, 160][..]),
        (Job::Answers, &[56, 60, 64]),
        (Job::Prompts, &[16, 24, 40]),
        (Job::Mixed, &[96, 128, 160]),
    ];
    for (job, caps) in jobs {
        let walls = |cap| FRESH.map(|seed| with_cap(&scene(job, &speeds, Told::Nothing, seed), cap).wall);
        let sum = |walls: &[f64; 5]| walls.iter().sum::<f64>();
        let none = walls(MaxInFlight::Off);
        let fixed = caps.iter().map(|cap| walls(MaxInFlight::Fixed(*cap)));
        let best = fixed.chain([none]).min_by(|a, b| sum(a).total_cmp(&sum(b))).expect("choices");
        let got = FRESH.map(|seed| auto(job, speeds, Told::Stream, seed));
        let relative = |all: [f64; 5]| spread(&std::array::from_fn::<_, 5, _>(|i| all[i] / best[i]));
        let [none, first, learned] = [none, got.map(|got| got.0), got.map(|got| got.1)].map(relative);
        println!(
            "{job:?} on {speeds:.1?}: none {:.3}, at most {:.3}; first {:.3}, at most {:.3}; learned {:.3}, at most {:.3}",
            none.0, none.1, first.0, first.1, learned.0, learned.1
        );
        // of a job that needs no cap, makespans differ by the node that gets the last long request
        let by_chance = if none.0 <= 1.03 { none.1 + 0.01 } else { 0.0 };
        let is_near = |got: (f64, f64), mean: f64, most: f64| {
            got.0 <= mean.max(by_chance) && got.1 <= most.max(by_chance)
        };
        assert!(is_near(first, 1.05, 1.06), "{job:?} on {speeds:?}: {first:?}");
        assert!(is_near(learned, 1.03, 1.05), "{job:?} on {speeds:?}: {learned:?}");
    }
}

#[test]
fn streams_cost_as_little_on_fresh_seeds_with_equal_nodes() {
    on_fresh_seeds(EQUAL);
}

#[test]
fn streams_cost_as_little_on_fresh_seeds_with_unequal_nodes() {
    on_fresh_seeds(UNEQUAL);
}
