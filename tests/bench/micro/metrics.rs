//! Benchmark of a metrics scrape with 1000 nodes: taking the snapshot and writing its text.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use evenkeel::live::Live;
use evenkeel::metrics::{self, Format};

use crate::counts::Case;

pub(crate) fn bench(c: &mut Criterion) {
    let live = Live::new(super::config_of(1000));
    let mut group = c.benchmark_group("metrics");
    group.sample_size(20);
    group.bench_function("snapshot of 1000 nodes", |b| b.iter(|| black_box(live.snapshot(Instant::now()))));
    for (name, format) in [("text", Format::Prometheus), ("OpenMetrics", Format::OpenMetrics)] {
        let scrape = || black_box(metrics::text(live.snapshot(Instant::now()), format));
        group.bench_function(format!("{name} of 1000 nodes"), |b| b.iter(scrape));
    }
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let scrape = || {
        let live = Live::new(super::config_of(1000));
        move || metrics::text(black_box(live.snapshot(Instant::now())), Format::Prometheus)
    };
    vec![Case::new("metrics/1000 nodes", scrape)]
}
