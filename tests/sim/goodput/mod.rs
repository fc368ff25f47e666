//! `weight: auto` against the best that is known: batch jobs on simulated engines, in virtual time.

mod caps;
mod classes;
mod crash;
mod engines;
mod fair;
mod gateway;
mod oracle;
mod stability;
mod work;

use std::time::Duration;

use evenkeel::config::Weight;
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Limits, StepTimes};

use engines::{Scene, Told, run};
use gateway::Gateway;

const SLOW: f64 = 1.0 / 3.0;
const MIXED: [f64; 8] = [1.0, 1.0, 0.8, 0.6, 0.5, 0.4, SLOW, 1.0];
const ALL_TOLD: [Told; 3] = [Told::Stream, Told::Usage, Told::Nothing];

/// So many requests for each node: 3000 of 20 to 60 tokens for two, 384 at a time. The step doubles with 60 sequences.
fn batch(speeds: &[f64], seed: u64) -> Scene {
    Scene {
        speeds: speeds.to_vec(),
        step: StepTimes {
            base: Duration::from_millis(8),
            per_seq: Duration::from_micros(130),
            ..StepTimes::default()
        },
        limits: Limits { max_seqs: 1024, ..Limits::default() },
        prompts: None,
        others: None,
        requests: 1500 * speeds.len(),
        until: f64::MAX,
        at_once: 192 * speeds.len(),
        sizes: Sizes::Uniform { min: 20, max: 60 },
        told: Told::Stream,
        changes: Vec::new(),
        seed,
    }
}

/// The part of the best wall time's speed that is reached.
#[derive(Debug, Default)]
struct Goodput {
    /// Least in flight without weights.
    plain: f64,
    /// The first batch of a process.
    first: f64,
    /// The fourth.
    learned: f64,
}

/// The mean over these jobs, each with the best wall time there is for it.
fn goodput(jobs: &[(Scene, f64)], told: Told) -> Goodput {
    let mut sum = Goodput::default();
    for (job, best) in jobs {
        let job = &Scene { told, ..job.clone() };
        let plain = run(job, &mut Gateway::new(job.speeds.len(), Weight::Fixed(1.0), told));
        let mut gateway = Gateway::new(job.speeds.len(), Weight::Auto, told);
        let first = run(job, &mut gateway);
        gateway.go_on(first.wall);
        for other in 100..102 {
            let wall = run(&Scene { seed: job.seed + other, ..job.clone() }, &mut gateway).wall;
            gateway.go_on(wall);
        }
        let learned = run(job, &mut gateway);
        println!(
            "{told:?}, seed {}: best {best:.2} s; plain {:.3} (p99 {:.1} s), first {:.3}, learned {:.3} (p99 {:.1} s), \
             weights {:.2?}",
            job.seed,
            best / plain.wall,
            plain.p99,
            best / first.wall,
            best / learned.wall,
            learned.p99,
            gateway.weights(),
        );
        let part = 1.0 / jobs.len() as f64;
        sum.plain += part * best / plain.wall;
        sum.first += part * best / first.wall;
        sum.learned += part * best / learned.wall;
    }
    sum
}

fn jobs(scene: impl Fn(u64) -> Scene, seeds: u64) -> Vec<(Scene, f64)> {
    let job = |seed| {
        let scene = scene(seed);
        let (best, whose) = oracle::best(&scene);
        println!("seed {seed}: best {best:.2} s, {whose:.2?}");
        (scene, best)
    };
    (1..=seeds).map(job).collect()
}

#[test]
fn a_slow_node_costs_a_batch_next_to_nothing() {
    let jobs = jobs(|seed| batch(&[SLOW, 1.0], seed), 4);
    for told in ALL_TOLD {
        let got = goodput(&jobs, told);
        println!("two nodes, one three times slower, {told:?}: {got:.3?}");
        assert!(got.plain < 0.95, "there is something to be won: {got:?}");
        assert!(got.first >= 0.95 && got.learned >= 0.98, "{told:?}: {got:?}");
    }
}

#[test]
fn equal_nodes_lose_nothing() {
    let jobs = jobs(|seed| batch(&[1.0, 1.0], seed), 2);
    for told in ALL_TOLD {
        let got = goodput(&jobs, told);
        println!("two equal nodes, {told:?}: {got:.4?}");
        assert!(got.first >= 0.99 * got.plain && got.learned >= 0.99 * got.plain, "{told:?}: {got:?}");
        assert!(got.first >= 0.99 && got.learned >= 0.99, "{told:?}: {got:?}");
    }
}

#[test]
fn eight_nodes_of_mixed_speed() {
    let got = goodput(&jobs(|seed| batch(&MIXED, seed), 1), Told::Usage);
    println!("eight nodes of mixed speed: {got:.3?}");
    assert!(got.first >= 0.95 && got.learned >= 0.97, "{got:?}");
    // a job of 7 s: a third of the first one is over before the speeds are known, and the best for it is another for each draw
    let short = |seed| Scene { requests: 3000, at_once: 384, ..batch(&MIXED, seed) };
    let got = goodput(&jobs(short, 3), Told::Usage);
    println!("the same for 3000 requests: {got:.3?}");
    assert!(got.first >= 0.94 && got.learned >= 0.95 && got.plain < 0.9, "{got:?}");
}

/// Where steps hardly become longer with the batch, a full fast node is quicker than an empty slow one, and the best for a
/// short job is not to use the slow one at all: a throughput that a longer job would miss.
#[test]
fn where_steps_do_not_grow_the_slow_node_is_still_used() {
    let flat = StepTimes {
        base: Duration::from_millis(20),
        per_seq: Duration::from_micros(100),
        ..StepTimes::default()
    };
    let got = goodput(&jobs(|seed| Scene { step: flat, ..batch(&[SLOW, 1.0], seed) }, 1), Told::Usage);
    println!("3000 requests on flat engines: {got:.3?}");
    assert!(got.learned >= 0.92 && got.learned > got.plain + 0.05, "{got:?}");
    let long = |seed| Scene { step: flat, requests: 12_000, ..batch(&[SLOW, 1.0], seed) };
    let got = goodput(&jobs(long, 1), Told::Usage);
    println!("12000 requests on flat engines: {got:.3?}");
    assert!(got.learned >= 0.97, "{got:?}");
}
