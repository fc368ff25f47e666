//! The cost that `retry.resume` adds to each event of a stream.

use std::hint::black_box;
use std::sync::LazyLock;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use evenkeel::config::{Engine, Retry};
use evenkeel::resume::{Kind, Original, Splitter, Transcript, Vocabularies};

use super::watcher::TOKEN;
use crate::counts::Case;

/// Events of one stream.
const EVENTS: u64 = 1000;

pub(crate) fn bench(c: &mut Criterion) {
    let retry = retry();
    let mut group = c.benchmark_group("resume");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("1000 events", |b| {
        b.iter_batched(|| transcript(&retry), deliver_all, BatchSize::SmallInput);
    });
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let stream = || {
        let retry = retry();
        move || deliver_all(transcript(&retry))
    };
    vec![Case::new("resume/1000 events", stream)]
}

fn retry() -> Retry {
    Retry { resume: true, ..super::config_of(1).pools[0].retry.clone() }
}

fn transcript(retry: &Retry) -> (Splitter, Transcript) {
    let request = Bytes::from_static(
        br#"{"messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":9999}"#,
    );
    let original = Original::read(Kind::Chat, "/v1/chat/completions", Engine::Vllm, retry, &request);
    let original = original.unwrap_or_else(|why| panic!("{why:?}"));
    static MODELS: LazyLock<Vocabularies> = LazyLock::new(Vocabularies::default);
    let vocabulary = MODELS.of("pool", original.model());
    (Splitter::default(), Transcript::begin(original, &request, retry, vocabulary))
}

fn deliver_all((mut splitter, mut transcript): (Splitter, Transcript)) {
    // the ids that the gateway asked for, which it takes out
    let event =
        Bytes::from(TOKEN.replace("\"finish_reason\":null", "\"finish_reason\":null,\"token_ids\":[151644]"));
    assert!(event.len() > TOKEN.len(), "the event has ids");
    for _ in 0..EVENTS {
        for event in splitter.push(event.clone()) {
            black_box(transcript.deliver(event));
        }
    }
    assert!(transcript.not_resumable().is_none(), "the stream is still resumable");
}
