//! That learned weights come to rest, wherever they begin and whatever happens to the nodes: under a steady load, in
//! virtual time.

use std::time::Duration;

use evenkeel::config::Weight;
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Limits, StepTimes};
use fastrand::Rng;

use super::engines::{Change, Scene, Told, run};
use super::gateway::{Gateway, Sample};
use super::{ALL_TOLD, SLOW};

const UNIFORM: Sizes = Sizes::Uniform { min: 20, max: 60 };
const HEAVY: Sizes = Sizes::HeavyTailed { min: 8, max: 2048, alpha: 1.2 };
const MIXED: [f64; 8] = [1.0, 2.0, 0.7, 0.5, 0.25, SLOW, 1.0, 1.5];

fn steady(speeds: &[f64], sizes: Sizes, told: Told, until: f64) -> Scene {
    Scene {
        speeds: speeds.to_vec(),
        step: StepTimes {
            base: Duration::from_millis(8),
            per_seq: Duration::from_micros(260),
            ..StepTimes::default()
        },
        limits: Limits::default(),
        prompts: None,
        others: None,
        requests: usize::MAX,
        until,
        at_once: 48 * speeds.len(),
        sizes,
        told,
        changes: Vec::new(),
        seed: 1,
    }
}

fn lived(scene: &Scene) -> Vec<Sample> {
    let mut gateway = Gateway::new(scene.speeds.len(), Weight::Auto, scene.told);
    run(scene, &mut gateway);
    gateway.samples
}

fn between(samples: &[Sample], from: f64, to: f64) -> impl Iterator<Item = &Sample> + Clone {
    samples.iter().filter(move |sample| (from..to).contains(&sample.at))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / count
}

/// The weights of a time, and how they kept there.
#[derive(Debug)]
struct Rest {
    /// Geometric means.
    weights: Vec<f64>,
    /// The largest factor between a weight and its mean.
    swing: f64,
    /// Mean in flight of the node that had the fewest, as part of an equal share.
    least: f64,
}

fn rest(samples: &[Sample], from: f64, to: f64) -> Rest {
    let during = between(samples, from, to);
    let nodes = samples[0].weights.len();
    let middle = |i: usize| mean(during.clone().map(|sample| sample.weights[i].ln()));
    let logs: Vec<f64> = (0..nodes).map(middle).collect();
    let off = |i: usize| during.clone().map(move |sample| sample.weights[i].ln()).map(move |w| (w, i));
    let swing = (0..nodes).flat_map(off).map(|(w, i)| (w - logs[i]).abs()).fold(0.0, f64::max);
    let all = mean(during.clone().map(|sample| sample.in_flight.iter().sum::<usize>() as f64));
    let held = |i: usize| mean(during.clone().map(|sample| sample.in_flight[i] as f64));
    let least = (0..nodes).map(held).fold(f64::MAX, f64::min) * nodes as f64 / all;
    Rest { weights: logs.iter().map(|log| log.exp()).collect(), swing: swing.exp(), least }
}

/// The time after `from` until the weights keep within this factor of where they come to rest.
fn settled_after(samples: &[Sample], from: f64, to: f64, rest: &Rest, factor: f64) -> f64 {
    let is_off = |sample: &&Sample| {
        let mut pairs = sample.weights.iter().zip(&rest.weights);
        pairs.any(|(weight, rest)| (weight / rest).ln().abs() > factor.ln())
    };
    between(samples, from, to).filter(is_off).last().map_or(0.0, |sample| sample.at - from)
}

/// Answers of very unequal length that do not tell it say little of their node: there a weight may wander by this factor.
fn swing_max(sizes: Sizes, told: Told) -> f64 {
    if sizes == HEAVY && told == Told::Nothing { 2.0 } else { 1.35 }
}

#[test]
fn weights_come_to_rest_and_nobody_starves() {
    let fleets = [(&[SLOW, 1.0][..], UNIFORM), (&[SLOW, 1.0], HEAVY), (&MIXED, UNIFORM), (&MIXED, HEAVY)];
    for (speeds, sizes) in fleets {
        for told in ALL_TOLD {
            let samples = lived(&steady(speeds, sizes, told, 90.0));
            let rest = rest(&samples, 45.0, 90.0);
            let swing = swing_max(sizes, told);
            let after = settled_after(&samples, 0.0, 90.0, &rest, 1.5 * swing);
            println!("{} nodes, {sizes:?}, {told:?}: {rest:.2?} after {after:.1} s", speeds.len());
            assert!(rest.swing <= swing, "{rest:?}");
            assert!(after <= 25.0, "after {after} s");
            let slowest =
                speeds.iter().copied().fold(f64::MAX, f64::min) / speeds.iter().copied().fold(0.0, f64::max);
            assert!(rest.least >= slowest, "the slowest has its part: {rest:?}");
        }
    }
}

#[test]
fn equal_nodes_stay_equal() {
    for sizes in [UNIFORM, HEAVY] {
        for told in ALL_TOLD {
            let samples = lived(&steady(&[1.0; 4], sizes, told, 60.0));
            let all = || between(&samples, 0.0, 60.0).flat_map(|sample| sample.weights.iter());
            let off = all().map(|weight| weight.ln().abs()).fold(0.0, f64::max).exp();
            println!(
                "four equal nodes, {sizes:?}, {told:?}: a weight is off by a factor of {off:.2} at the most"
            );
            assert!(off <= swing_max(sizes, told), "{off}");
        }
    }
}

#[test]
fn weights_follow_a_change_of_speed_without_overshooting() {
    for told in ALL_TOLD {
        let mut scene = steady(&[SLOW, 1.0], UNIFORM, told, 120.0);
        scene.changes = vec![(40.0, 0, Change::Speed(1.0)), (40.0, 1, Change::Speed(SLOW))];
        let samples = lived(&scene);
        let (before, rest) = (rest(&samples, 20.0, 40.0), rest(&samples, 70.0, 120.0));
        let after = settled_after(&samples, 40.0, 120.0, &rest, 1.3);
        let most = between(&samples, 40.0, 120.0).map(|sample| sample.weights[0]).fold(0.0, f64::max);
        println!("{told:?}: {before:.2?}, then {rest:.2?} after {after:.1} s, at most {most:.2}");
        assert!((rest.weights[0] / before.weights[1]).ln().abs() < 0.1, "the same, the other way round");
        assert!(after <= 15.0, "after {after} s");
        assert!(most <= 1.2 * rest.weights[0], "{most} on the way to {}", rest.weights[0]);
    }
}

#[test]
fn a_node_that_crashes_comes_back_to_its_share_and_no_more() {
    // ejected for 30 s, and a slow start of 10 s
    let (crash, back) = (50.0, 90.0);
    for told in ALL_TOLD {
        let mut scene = steady(&[SLOW, 1.0, 1.0], UNIFORM, told, 140.0);
        scene.changes = vec![(crash, 1, Change::Crash), (crash + 10.0, 1, Change::Start)];
        let samples = lived(&scene);
        let held = |from, to| mean(between(&samples, from, to).map(|sample| sample.in_flight[1] as f64));
        let (before, after) = (held(30.0, crash), held(110.0, 140.0));
        let most = between(&samples, crash, 140.0).map(|sample| sample.in_flight[1]).max().unwrap_or(0);
        let soon = held(back, back + 5.0);
        println!(
            "{told:?}: {before:.1} in flight, then {after:.1}, {soon:.1} right after its slow start, at most {most}"
        );
        assert!((after / before - 1.0).abs() < 0.1 && soon >= 0.8 * before);
        assert!(most as f64 <= 1.3 * before, "run over: {most}");
        let weights = between(&samples, crash, 140.0).flat_map(|sample| sample.weights.clone());
        let most = weights.fold(0.0, f64::max);
        assert!(most <= 2.5, "nobody's weight tips over meanwhile: {most}");
    }
}

/// Whole answers teach what was true when they began: a delay, which is what makes a loop swing.
#[test]
fn answers_of_a_minute_make_nothing_swing() {
    for told in [Told::Usage, Told::Nothing] {
        let mut scene = steady(&[SLOW, 1.0], Sizes::Uniform { min: 500, max: 3000 }, told, 2400.0);
        (scene.at_once, scene.step.per_seq) = (24, Duration::from_millis(3));
        let samples = lived(&scene);
        let (early, late) = (rest(&samples, 400.0, 1400.0), rest(&samples, 1400.0, 2400.0));
        println!("{told:?}: {early:.2?}, then {late:.2?}");
        assert!(late.swing <= 1.5 && late.swing <= 1.2 * early.swing, "{early:?}, then {late:?}");
    }
}

#[test]
fn a_slow_node_that_nobody_asks_is_tried_again() {
    let mut scene = steady(&[0.1, 1.0], UNIFORM, Told::Usage, 400.0);
    scene.at_once = 6;
    scene.changes = vec![(60.0, 0, Change::Speed(1.0))];
    let samples = lived(&scene);
    let (before, after) = (rest(&samples, 30.0, 60.0), rest(&samples, 360.0, 400.0));
    println!("{before:.2?}, then {after:.2?}");
    assert!(before.least < 0.1, "six requests are all better off on the fast one");
    assert!(after.least > 0.9, "it is found to be as fast by now");
}

#[test]
fn random_fleets_come_to_rest() {
    for seed in 1..=24 {
        let mut rng = Rng::with_seed(seed);
        let speeds: Vec<f64> = (0..rng.usize(2..=8)).map(|_| 0.25 * 8.0_f64.powf(rng.f64())).collect();
        let sizes = [UNIFORM, HEAVY, Sizes::Fixed(40)][rng.usize(0..3)];
        let mut scene = steady(&speeds, sizes, ALL_TOLD[rng.usize(0..3)], 90.0);
        scene.at_once = speeds.len() * rng.usize(4..80);
        scene.limits.max_seqs = [16, 64, 256][rng.usize(0..3)];
        scene.step.per_seq = Duration::from_micros(rng.u64(0..800));
        scene.seed = seed;
        let rest = rest(&lived(&scene), 45.0, 90.0);
        assert!(rest.swing <= swing_max(sizes, scene.told), "{rest:?} of {scene:?}");
        assert!(rest.least > 0.01, "{rest:?} of {scene:?}");
        let pairs = (0..speeds.len()).flat_map(|a| (0..speeds.len()).map(move |b| (a, b)));
        for (fast, slow) in pairs.filter(|(a, b)| speeds[*a] > 1.5 * speeds[*b]) {
            let is_so = rest.weights[fast] > rest.weights[slow];
            assert!(is_so, "{fast} is faster than {slow}: {rest:?} of {scene:?}");
        }
    }
}
