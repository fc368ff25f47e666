//! What single parts cost: `cargo bench --profile quick --bench micro -- watcher` runs those with this word in their name.

mod access_log;
mod config;
mod lease;
mod metrics;
mod resume;
mod selection;
mod watcher;

use std::fmt::Write;

use criterion::{criterion_group, criterion_main};
use evenkeel::config::Config;

criterion_group!(
    parts,
    watcher::bench,
    resume::bench,
    selection::bench,
    lease::bench,
    config::bench,
    access_log::bench,
    metrics::bench
);
criterion_main!(parts);

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
