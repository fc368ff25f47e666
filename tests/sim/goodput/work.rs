//! `balance: least_work` against least in flight and the best that is known, on requests of unequal size.

use std::time::Duration;

use evenkeel::config::Weight;
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Limits, StepTimes};

use super::engines::{Dispatch, Node, Others, Outcome, Scene, Told, run};
use super::gateway::Gateway;
use super::oracle::Policy;
use super::{ALL_TOLD, SLOW, batch};

/// Engines that read 2048 tokens of prompts a step, each of them 25 us longer.
fn engines(nodes: usize, seed: u64) -> Scene {
    Scene {
        step: StepTimes {
            base: Duration::from_millis(20),
            per_seq: Duration::from_micros(100),
            per_prompt_token: Duration::from_micros(25),
        },
        limits: Limits { max_seqs: 256, step_tokens: Some(2048), ..Limits::default() },
        ..batch(&vec![1.0; nodes], seed)
    }
}

/// Chats, and one in fifty asks about a book.
fn books(nodes: usize, seed: u64) -> Scene {
    Scene {
        prompts: Some(Sizes::Fixed(250)),
        sizes: Sizes::Uniform { min: 50, max: 350 },
        others: Some(Others {
            part: 0.02,
            prompts: Sizes::Fixed(48_000),
            sizes: Sizes::Uniform { min: 50, max: 350 },
        }),
        requests: 500 * nodes,
        at_once: 16 * nodes,
        ..engines(nodes, seed)
    }
}

fn least_in_flight(scene: &Scene) -> Outcome {
    run(scene, &mut Gateway::new(scene.speeds.len(), Weight::Fixed(1.0), scene.told))
}

/// `limits`: requests tell how long their answers will be.
fn least_work(scene: &Scene, limits: bool) -> Outcome {
    run(scene, &mut Gateway::by_work(scene.speeds.len(), Weight::Fixed(1.0), scene.told, limits))
}

#[test]
fn short_prompts_do_not_stand_behind_long_ones() {
    for (nodes, told) in [(2, Told::Stream), (2, Told::Nothing), (4, Told::Usage), (8, Told::Stream)] {
        let scene = Scene { told, ..books(nodes, 1) };
        let (before, after) = (least_in_flight(&scene), least_work(&scene, false));
        let part = after.usual_ttft_p99 / before.usual_ttft_p99;
        println!(
            "{nodes} nodes, {told:?}: first token of short prompts p99 {:.2} s, by least in flight {:.2} s: {part:.2}; all done after \
             {:.1} and {:.1} s",
            after.usual_ttft_p99, before.usual_ttft_p99, after.wall, before.wall
        );
        assert!(part <= 0.6 && after.wall <= 1.03 * before.wall, "{part}");
    }
}

/// Knows how long each answer will be: a request goes where the fewest tokens are left.
#[derive(Default)]
struct FewestLeft {
    sizes: Vec<(u32, u32)>,
    places: Vec<usize>,
    left: Vec<f64>,
}

impl FewestLeft {
    /// The time of a token of a prompt, relative to one of an answer.
    const PROMPT: f64 = 0.25;
}

impl Dispatch for FewestLeft {
    fn asks(&mut self, _request: usize, prompt: u32, tokens: u32) {
        self.sizes.push((prompt, tokens));
        self.places.push(0);
    }

    fn place(&mut self, request: usize, nodes: &[Node], _now: f64) -> Option<usize> {
        self.left.resize(nodes.len(), 0.0);
        let place = (0..nodes.len()).min_by(|a, b| self.left[*a].total_cmp(&self.left[*b]))?;
        let (prompt, tokens) = self.sizes[request];
        self.left[place] += Self::PROMPT * f64::from(prompt) + f64::from(tokens);
        self.places[request] = place;
        Some(place)
    }

    fn token(&mut self, request: usize, _now: f64) {
        let prompt = std::mem::take(&mut self.sizes[request].0);
        self.left[self.places[request]] -= Self::PROMPT * f64::from(prompt) + 1.0;
    }
}

fn best(scene: &Scene) -> f64 {
    let known = run(&Scene { told: Told::Stream, ..scene.clone() }, &mut FewestLeft::default()).wall;
    let shortest = Policy::ShortestFinish { step: scene.step, max_seqs: scene.limits.max_seqs };
    let others = [shortest, Policy::Weights(vec![1.0; scene.speeds.len()])];
    others.into_iter().map(|mut policy| run(scene, &mut policy).wall).fold(known, f64::min)
}

/// The longest take 4.4 times as long as the shortest.
#[test]
fn unequal_work_is_spread_as_well_as_can_be() {
    for nodes in [2, 4, 8] {
        let scene = Scene {
            prompts: Some(Sizes::Uniform { min: 250, max: 1100 }),
            sizes: Sizes::Uniform { min: 100, max: 440 },
            requests: 200 * nodes,
            at_once: 64 * nodes,
            ..engines(nodes, 2)
        };
        let best = best(&scene);
        for (told, limits) in [(Told::Stream, true), (Told::Stream, false), (Told::Nothing, false)] {
            let scene = Scene { told, ..scene.clone() };
            let (before, after) =
                (least_in_flight(&scene).wall / best, least_work(&scene, limits).wall / best);
            println!(
                "{nodes} nodes, {told:?}, limits {limits}: {after:.3} of the best, least in flight {before:.3}"
            );
            assert!(after <= 1.05, "{after}");
        }
    }
}

#[test]
fn equal_sizes_lose_nothing() {
    for told in ALL_TOLD {
        let scene = Scene {
            prompts: Some(Sizes::Fixed(500)),
            sizes: Sizes::Fixed(200),
            requests: 600,
            at_once: 100,
            told,
            ..engines(3, 1)
        };
        let part = least_work(&scene, true).wall / least_in_flight(&scene).wall;
        println!("equal sizes, {told:?}: {part:.4} of least in flight");
        assert!((0.99..=1.01).contains(&part), "{part}");
    }
}

/// Learned weights and work together: the slow node is found, and nobody's weight swings.
#[test]
fn learned_weights_hold_for_work_too() {
    for told in ALL_TOLD {
        let scene = Scene {
            prompts: Some(Sizes::Uniform { min: 250, max: 1100 }),
            sizes: Sizes::Uniform { min: 20, max: 440 },
            requests: 2000,
            at_once: 128,
            told,
            speeds: vec![SLOW, 1.0],
            ..engines(2, 1)
        };
        let mut count = Gateway::new(2, Weight::Auto, told);
        let mut work = Gateway::by_work(2, Weight::Auto, told, false);
        let walls = [run(&scene, &mut count).wall, run(&scene, &mut work).wall];
        let shares = |gateway: &Gateway| {
            let late = gateway.samples.iter().skip(gateway.samples.len() / 2);
            let shares = late.map(|sample| sample.weights[1] / sample.weights[0]);
            (shares.clone().fold(f64::MAX, f64::min), shares.fold(0.0, f64::max))
        };
        let (least, most) = shares(&work);
        println!(
            "{told:?}: least in flight and least work {walls:.1?} s; the fast one weighs {least:.2} to {most:.2}"
        );
        assert!(walls[1] <= 1.05 * walls[0] && least >= 2.0 && most <= 1.5 * least);
    }
}
