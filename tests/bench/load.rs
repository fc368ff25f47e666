//! The client of the benchmarks, from the command line: the simulated clients of `evenkeel::sim::load`, and one line of
//! JSON that says what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use evenkeel::sim::load::{Ask, Load, Report, Sizes, Target};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Puts a load on a gateway, or straight on nodes
#[derive(Parser)]
struct Args {
    /// Where to send; with several, request number n goes to number n modulo their count
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    /// Requests in all
    #[arg(long)]
    count: u64,
    /// Requests at a time, each on a connection of its own that is kept
    #[arg(long)]
    concurrency: usize,
    /// Tokens that a request asks for: at least this
    #[arg(long, default_value_t = 1)]
    tokens_min: u32,
    /// ... and at most this
    #[arg(long, default_value_t = 1)]
    tokens_max: u32,
    /// The part of the requests that ask for a stream, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    stream: f64,
    /// Request number n is the same in every run with this seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let tokens = Sizes::Uniform { min: args.tokens_min, max: args.tokens_max };
    let targets = args.target.into_iter().map(Target::chat).collect();
    let load = Load {
        count: Some(args.count),
        timeout: Some(REQUEST_TIMEOUT),
        // inference servers close connections that were idle for 5 s: that is no failure of anyone
        again_if_stale: true,
        pause_after_failure: Duration::ZERO,
        seed: args.seed,
        ..Load::new(targets, args.concurrency, Ask::Chat { tokens, stream: args.stream })
    };
    report(&load.start().finish().await);
}

fn report(seen: &Report) {
    let latency = seen.latency();
    let failures: Vec<_> = seen.failures.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    let line = serde_json::json!({
        "sent": seen.sent, "ok": seen.succeeded, "failed": seen.failed, "failures": failures,
        "events": seen.events,
        "wall": seen.wall.as_secs_f64(),
        "p50": latency.at(0.5).as_secs_f64(), "p99": latency.at(0.99).as_secs_f64(),
    });
    println!("{line}");
}
