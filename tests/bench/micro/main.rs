//! Micro-benchmarks of single parts: `cargo bench --profile quick --bench micro -- watcher` runs those with this word
//! in their name. `tests/bench/counts` counts their instructions.

mod access_log;
mod class;
mod config;
mod counts;
mod http1;
mod lease;
mod metrics;
mod model;
mod resume;
mod selection;
mod watcher;

use std::fmt::Write;

use criterion::{Criterion, criterion_group};
use evenkeel::config::Config;

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

criterion_group!(
    parts,
    watcher::bench,
    resume::bench,
    selection::bench,
    lease::bench,
    class::bench,
    config::bench,
    access_log::bench,
    metrics::bench,
    http1::bench,
    model::bench
);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let cases = [
        watcher::cases,
        resume::cases,
        selection::cases,
        lease::cases,
        class::cases,
        config::cases,
        access_log::cases,
        metrics::cases,
        http1::cases,
        model::cases,
    ];
    if counts::run(&arguments, cases.into_iter().flat_map(|cases| cases())) {
        return;
    }
    parts();
    Criterion::default().configure_from_args().final_summary();
}

/// A config with so many nodes in one pool.
fn text_of(nodes: usize) -> String {
    let mut text = "server: { listen: 127.0.0.1:9999 }\npools:\n  p:\n    nodes:\n".to_owned();
    for number in 0..nodes {
        let (high, low) = (number / 250, number % 250);
        // writing to a String cannot fail
        let _ =
            writeln!(text, "      - {{ name: node-{number}, address: 10.0.{high}.{low}:8000, weight: 1 }}");
    }
    text
}

fn config_of(nodes: usize) -> Config {
    Config::parse(&text_of(nodes), "bench").unwrap_or_else(|problems| panic!("{problems}"))
}
