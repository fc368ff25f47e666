//! That learned caps come to rest, wherever they begin and whatever happens to the nodes: under a steady load, in virtual time,
//! beside learned weights too.

use evenkeel::config::{MaxInFlight, Weight};
use evenkeel::sim::load::Sizes;
use fastrand::Rng;

use super::scenes::{Job, scene};
use crate::goodput::engines::{Change, Scene, Told, run};
use crate::goodput::gateway::{Gateway, Sample};
use crate::goodput::{ALL_TOLD, SLOW};

/// The best cap for [`Job::Answers`]: memory holds 60 of them.
const PEAK: f64 = 60.0;

fn steady(job: Job, speeds: &[f64], told: Told, until: f64) -> Scene {
    Scene { requests: usize::MAX, until, ..scene(job, speeds, told, 1) }
}

fn lived(scene: &Scene, weight: Weight) -> Vec<Sample> {
    let mut gateway = Gateway::capped(scene.speeds.len(), weight, scene.told, MaxInFlight::Auto);
    run(scene, &mut gateway);
    gateway.samples
}

/// The caps of one node in a time.
fn caps(samples: &[Sample], node: usize, from: f64, to: f64) -> Vec<f64> {
    let during = samples.iter().filter(|sample| (from..to).contains(&sample.at));
    during.map(|sample| f64::from(sample.caps[node])).collect()
}

/// The cap that a node had most of the time, as a median, and the part of the time in which it was within this factor of it.
fn rest(caps: &[f64], factor: f64) -> (f64, f64) {
    let mut sorted = caps.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    let near = caps.iter().filter(|cap| (*cap / middle - 1.0).abs() <= factor - 1.0).count();
    (middle, near as f64 / caps.len() as f64)
}

/// The time after `from` until the cap keeps within this factor of the middle, but for trials: nine parts in ten of the time.
fn settled_after(samples: &[Sample], node: usize, from: f64, to: f64, middle: f64, factor: f64) -> f64 {
    let is_near = |cap: f64| (cap / middle).ln().abs() <= factor.ln();
    let all: Vec<_> = samples.iter().filter(|sample| (from..to).contains(&sample.at)).collect();
    let mut near_after = 0.0;
    let mut first = to;
    for (count, sample) in all.iter().rev().enumerate() {
        near_after += f64::from(u8::from(is_near(f64::from(sample.caps[node]))));
        if near_after >= 0.9 * (count + 1) as f64 {
            first = sample.at;
        }
    }
    first - from
}

/// Memory for half as many answers as the cap at the start, and for twice as many.
#[test]
fn a_cap_comes_to_rest_at_the_peak_and_stays() {
    for (memory, peak, until) in [(8, 30.0, 1200.0), (32, 122.0, 1600.0)] {
        for told in ALL_TOLD {
            let mut scene = steady(Job::Answers, &[1.0, 1.0], told, until);
            scene.limits.kv_tokens = Some(memory * 1024);
            let samples = lived(&scene, Weight::Fixed(1.0));
            for node in 0..2 {
                let (middle, near) = rest(&caps(&samples, node, until / 2.0, until), 1.1);
                let seconds = settled_after(&samples, node, 0.0, until, middle, 1.12);
                // a node of speed 1 ends 6.6 requests a second at each of these peaks
                let after = 6.6 * seconds / peak;
                println!(
                    "{memory} Ki, {told:?}: {middle}, within a tenth for {near:.3} of the time, after {after:.1} turnovers"
                );
                // answers of 125 to 500 tokens that do not tell it say little
                let (most, least) = if told == Told::Nothing { (1.5, 0.7) } else { (1.2, 0.8) };
                assert!((0.85 * peak..=most * peak).contains(&middle) && near >= least, "{middle} {near}");
                let soon = if told == Told::Stream { 3.0 } else { 100.0 };
                assert!(told == Told::Nothing || after <= soon, "{after}");
            }
        }
    }
}

#[test]
fn it_follows_a_change_of_the_workload() {
    for told in ALL_TOLD {
        let mut gateway = Gateway::capped(1, Weight::Fixed(1.0), told, MaxInFlight::Auto);
        let mut seen = Vec::new();
        for (job, until) in [(Job::Answers, 400.0), (Job::Short, 100.0), (Job::Answers, 1200.0)] {
            let mut scene = steady(job, &[1.0], told, until);
            scene.at_once = 300;
            run(&scene, &mut gateway);
            seen.push(rest(&caps(&gateway.samples, 0, until / 2.0, until), 1.1).0);
            gateway.go_on_lost(until);
        }
        println!("{told:?}: {seen:?}");
        assert!((0.9 * PEAK..=1.15 * PEAK).contains(&seen[0]), "{seen:?}");
        assert!(seen[1] >= 1.6 * PEAK, "{seen:?}");
        assert!((0.85 * PEAK..=1.2 * PEAK).contains(&seen[2]), "{seen:?}");
    }
}

#[test]
fn a_node_that_crashes_comes_back_to_its_cap_and_no_more() {
    for told in ALL_TOLD {
        let mut scene = steady(Job::Answers, &[1.0, 1.0], told, 700.0);
        scene.changes = vec![(400.0, 1, Change::Crash), (410.0, 1, Change::Start)];
        let samples = lived(&scene, Weight::Fixed(1.0));
        let (before, _) = rest(&caps(&samples, 1, 250.0, 400.0), 1.1);
        let (after, _) = rest(&caps(&samples, 1, 500.0, 700.0), 1.1);
        let most = samples.iter().filter(|sample| sample.at > 400.0).map(|sample| sample.in_flight[1]).max();
        println!("{told:?}: {before}, then {after}, at most {most:?} in flight");
        assert!((after / before).ln().abs() <= 0.2, "{before}, then {after}");
        assert!(most.is_some_and(|most| most as f64 <= 1.6 * before), "run over: {most:?}");
    }
}

#[test]
fn beside_learned_weights_neither_swings() {
    for told in ALL_TOLD {
        let samples = lived(&steady(Job::Answers, &[SLOW, 1.0], told, 1600.0), Weight::Auto);
        let during = || samples.iter().filter(|sample| sample.at > 800.0);
        for node in 0..2 {
            let (middle, near) = rest(&caps(&samples, node, 800.0, 1600.0), 1.1);
            let logs = || during().map(|sample| sample.weights[node].ln());
            let mean = logs().sum::<f64>() / logs().count() as f64;
            let swing = logs().map(|log| (log - mean).abs()).fold(0.0, f64::max).exp();
            println!("{told:?}: {middle}, {near:.3} of the time; weight {:.2}, swing {swing:.2}", mean.exp());
            assert!((0.85 * PEAK..=1.2 * PEAK).contains(&middle) && near >= 0.8, "{middle} {near}");
            assert!(swing <= 1.75, "{swing}");
        }
    }
}

/// Whatever the fleet: nobody starves, no cap runs away, and the work stays near that of no cap, or above it.
#[test]
fn random_fleets_come_to_rest() {
    for seed in 1..=16 {
        let mut rng = Rng::with_seed(seed);
        let speeds: Vec<f64> = (0..rng.usize(1..=4)).map(|_| 0.25 * 8.0_f64.powf(rng.f64())).collect();
        let told = ALL_TOLD[rng.usize(0..3)];
        let mut scene = steady(Job::Mixed, &speeds, told, 150.0);
        scene.sizes = [Sizes::Uniform { min: 5, max: 50 }, Sizes::Fixed(40), scene.sizes][rng.usize(0..3)];
        scene.prompts = [None, Some(Sizes::Uniform { min: 25, max: 200 }), scene.prompts][rng.usize(0..3)];
        scene.at_once = speeds.len() * rng.usize(8..300);
        scene.limits.max_seqs = [16, 64, 256][rng.usize(0..3)];
        scene.limits.kv_tokens = [None, Some(4096), Some(16 * 1024)][rng.usize(0..3)];
        scene.seed = seed;
        let weight = if rng.bool() { Weight::Auto } else { Weight::Fixed(1.0) };
        let samples = lived(&scene, weight);
        let each = scene.at_once as f64 / speeds.len() as f64;
        for node in 0..speeds.len() {
            let all = caps(&samples, node, 75.0, 150.0);
            let (middle, _) = rest(&all, 1.1);
            let held =
                samples.iter().filter(|sample| sample.at > 75.0).map(|sample| sample.in_flight[node] as f64);
            let held = held.sum::<f64>() / all.len() as f64;
            assert!(
                middle >= 4.0 && held >= 4.0_f64.min(0.3 * each),
                "{middle}, {held} in flight of {scene:?}"
            );
            assert!(middle <= 2.1 * scene.at_once as f64 + 64.0, "{middle} of {scene:?}");
        }
    }
}
