//! What `retry.resume` adds to each event of a stream, so that another node could go on.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use evenkeel::config::{Engine, Retry};
use evenkeel::resume::{Kind, Splitter, Transcript};

use super::watcher::TOKEN;
use crate::counts::Case;

/// Events of one stream.
const EVENTS: u64 = 1000;

pub(crate) fn bench(c: &mut Criterion) {
    let retry = retry();
    let mut group = c.benchmark_group("resume");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("1000 events", |b| {
        b.iter_batched(|| story(&retry), hear, BatchSize::SmallInput);
    });
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let stream = || {
        let retry = retry();
        move || hear(story(&retry))
    };
    vec![Case::new("resume/1000 events", stream)]
}

fn retry() -> Retry {
    Retry { resume: true, ..super::config_of(1).pools[0].retry.clone() }
}

fn story(retry: &Retry) -> (Splitter, Transcript) {
    let request = Bytes::from_static(br#"{"messages":[{"role":"user","content":"x"}],"stream":true}"#);
    let story = Transcript::begin(Kind::Chat, Engine::Vllm, &request, retry);
    (Splitter::default(), story.unwrap_or_else(|why| panic!("{why:?}")))
}

fn hear((mut splitter, mut story): (Splitter, Transcript)) {
    let event = Bytes::from_static(TOKEN.as_bytes());
    for _ in 0..EVENTS {
        for event in splitter.push(event.clone()) {
            black_box(story.tell(event));
        }
    }
    assert!(story.lost().is_none(), "it is still understood");
}
