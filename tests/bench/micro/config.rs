//! Benchmark of a reload: parsing and checking a config with 1000 nodes.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use evenkeel::config::Config;

use crate::counts::Case;

pub(crate) fn bench(c: &mut Criterion) {
    let text = super::text_of(1000);
    let mut group = c.benchmark_group("config");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.sample_size(20);
    group.bench_function("1000 nodes", |b| b.iter(|| black_box(Config::parse(black_box(&text), "bench"))));
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let parse = || {
        let text = super::text_of(1000);
        move || Config::parse(black_box(&text), "bench")
    };
    vec![Case::new("config/1000 nodes", parse)]
}
