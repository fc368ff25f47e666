//! A cap on each node, `max_in_flight`, against none: engines whose memory holds fewer sequences than come at once.

mod auto;
mod rest;
mod scenes;

use std::time::Duration;

use evenkeel::config::{MaxInFlight, Weight};
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Limits, StepTimes};

use super::batch;
use super::engines::{Outcome, Scene, Told, run};
use super::gateway::Gateway;

/// Long prompts and answers: memory for about forty sequences a node, though an engine would take in 256.
fn scene(nodes: usize, clients: usize, seed: u64) -> Scene {
    Scene {
        step: StepTimes {
            base: Duration::from_millis(20),
            per_seq: Duration::from_micros(100),
            per_prompt_token: Duration::from_micros(25),
        },
        limits: Limits { kv_tokens: Some(64 * 1024), step_tokens: Some(2048), ..Limits::default() },
        prompts: Some(Sizes::Uniform { min: 600, max: 1400 }),
        sizes: Sizes::Uniform { min: 200, max: 1000 },
        requests: 2 * clients,
        at_once: clients,
        ..batch(&vec![1.0; nodes], seed)
    }
}

fn with_cap(scene: &Scene, cap: MaxInFlight) -> Outcome {
    let nodes = scene.speeds.len();
    let mut gateway = Gateway::capped(nodes, Weight::Fixed(1.0), Told::Stream, cap);
    run(scene, &mut gateway)
}

#[test]
fn at_the_best_cap_nothing_is_lost_and_the_first_token_comes_sooner() {
    for (nodes, clients) in [(2, 384), (8, 384), (8, 2000)] {
        let scene = scene(nodes, clients, 1);
        let without = with_cap(&scene, MaxInFlight::Off);
        let caps = [40, 48, 64];
        let all = caps.map(|cap| (cap, with_cap(&scene, MaxInFlight::Fixed(cap))));
        let (cap, best) = all.iter().min_by(|a, b| a.1.wall.total_cmp(&b.1.wall)).expect("caps");
        println!(
            "{nodes} nodes, {clients} clients: without a cap {:.1} s, first token p99 {:.1} s, {} preempted; with {cap}: {:.1} s, \
             {:.1} s, {}",
            without.wall, without.ttft_p99, without.preemptions, best.wall, best.ttft_p99, best.preemptions
        );
        for (cap, outcome) in &all {
            println!("  {cap}: {:.1} s, {:.1} s, {}", outcome.wall, outcome.ttft_p99, outcome.preemptions);
        }
        assert!(best.wall <= without.wall && best.ttft_p99 <= without.ttft_p99, "{without:?}, {best:?}");
    }
}
