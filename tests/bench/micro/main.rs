//! What single parts cost: `cargo bench --profile quick --bench micro -- watcher` runs those with this word in their name.

mod watcher;

use criterion::{criterion_group, criterion_main};

criterion_group!(parts, watcher::bench);
criterion_main!(parts);
