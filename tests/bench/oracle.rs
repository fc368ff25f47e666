//! The best wall time that is known for a batch: policies that are told the speed of each node, each tuned, on the same
//! engines in virtual time. It is what the tests of learned weights are held against.

#[expect(dead_code, reason = "a gateway is told more than a policy")]
#[path = "../sim/goodput/engines.rs"]
mod engines;
#[path = "../sim/goodput/oracle.rs"]
mod oracle;

use std::time::Duration;

use clap::Parser;
use engines::{Change, Scene, Told};
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Limits, StepTimes};
use serde_json::json;

/// Says the shortest wall time of a batch, in seconds, as the mean over some draws of its sizes
#[derive(Parser)]
struct Args {
    /// One for each node
    #[arg(long, required = true)]
    speed: Vec<f64>,
    /// Seconds of a step, and what each sequence adds
    #[arg(long)]
    step_base: f64,
    #[arg(long)]
    step_per_seq: f64,
    #[arg(long)]
    requests: usize,
    #[arg(long)]
    at_once: usize,
    #[arg(long)]
    tokens_min: u32,
    #[arg(long)]
    tokens_max: u32,
    /// The time at which the first node crashes, and the time at which it is back
    #[arg(long, num_args = 2)]
    away: Vec<f64>,
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let walls: Vec<_> = (1..=args.seeds).map(|seed| oracle::best(&scene(&args, seed)).0).collect();
    println!("{}", json!({ "best": walls.iter().sum::<f64>() / walls.len() as f64 }));
}

fn scene(args: &Args, seed: u64) -> Scene {
    let [base, per_seq] = [args.step_base, args.step_per_seq].map(Duration::from_secs_f64);
    let changes = args.away.iter().zip([Change::Crash, Change::Start]);
    Scene {
        speeds: args.speed.clone(),
        step: StepTimes { base, per_seq, ..StepTimes::default() },
        limits: Limits { max_seqs: 1024, ..Limits::default() },
        prompts: None,
        others: None,
        requests: args.requests,
        until: f64::MAX,
        at_once: args.at_once,
        sizes: Sizes::Uniform { min: args.tokens_min, max: args.tokens_max },
        told: Told::Nothing,
        changes: changes.map(|(at, change)| (*at, 0, change)).collect(),
        seed,
    }
}
