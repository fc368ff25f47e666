//! Benchmark of the stream watcher, which examines every byte of every streamed answer.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use evenkeel::classify::dialect::Dialect;
use evenkeel::classify::stream::Watcher;

use crate::counts::Case;

/// A chat's token as vLLM sends it.
pub(crate) const TOKEN: &str = concat!(
    r#"data: {"id":"chatcmpl-8f3c2a1be07d4c5f9a6b1e2d3c4f5a60","object":"chat.completion.chunk","created":1763800000,"#,
    r#""model":"Qwen/Qwen2.5-72B-Instruct","choices":[{"index":0,"delta":{"content":" harbour"},"logprobs":null,"#,
    r#""finish_reason":null,"token_ids":null}]}"#,
    "\n\n"
);

pub(crate) fn bench(c: &mut Criterion) {
    let many = TOKEN.repeat(16);
    let (first, second) = TOKEN.split_at(TOKEN.len() / 2);
    let cases: [(&str, &[&str]); 3] = [
        ("an event a chunk", &[TOKEN]),
        ("an event in two chunks", &[first, second]),
        ("16 events a chunk", &[&many]),
    ];
    let mut group = c.benchmark_group("watcher");
    for (name, chunks) in cases {
        let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut watcher = Watcher::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                chunks.iter().for_each(|chunk| watcher.look(black_box(chunk.as_bytes())));
                black_box(watcher.seen().events)
            });
        });
    }
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let stream = || {
        || {
            let mut watcher = Watcher::default();
            (0..1000).for_each(|_| watcher.look(black_box(TOKEN.as_bytes())));
            watcher.seen().events
        }
    };
    let chat = || {
        || {
            let dialect = Dialect::of("/v1/chat/completions").expect("a dialect");
            let mut watcher = Watcher::new(dialect);
            (0..1000).for_each(|_| watcher.look(black_box(TOKEN.as_bytes())));
            watcher.seen().events
        }
    };
    vec![Case::new("watcher/1000 events", stream), Case::new("watcher/1000 events of a chat", chat)]
}
