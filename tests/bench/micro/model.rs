//! The search for the model in a long body, beside a plain look through the same bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use evenkeel::config::{Config, Pool};
use evenkeel::route::{Place, profile};
use http::HeaderMap;

use crate::counts::Case;

/// Size of the bodies, in bytes.
const SIZE: usize = 1024 * 1024;

pub(crate) fn bench(c: &mut Criterion) {
    let place = Place::of("/v1/chat/completions", None, Some("application/json"), None);
    let mut group = c.benchmark_group("model");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for (name, body) in bodies() {
        group.bench_function(name, |b| b.iter(|| place.model(black_box(&body)).map(|model| model.len())));
        group.bench_function(format!("{name}, memchr"), |b| {
            b.iter(|| memchr::memchr(0, black_box(&body)));
        });
    }
    group.finish();
    let pool = pool();
    let body = chat(400 * 1024);
    c.bench_function("profile/400 KiB chat", |b| {
        b.iter(|| {
            profile(&pool, &HeaderMap::new(), "", None, Some((&place, black_box(body.as_bytes())))).affinity
        });
    });
}

/// One that needs the key of each request.
fn pool() -> Pool {
    let text = "server: { listen: 127.0.0.1:1 }\npools: { a: { nodes: [n:1], balance: affinity } }";
    Config::parse(text, "micro").expect("a config").pools.remove(0)
}

/// A chat of two messages, the second of them so long.
fn chat(size: usize) -> String {
    let text = "tell me more ".repeat(size / 13);
    let system = r#"{"role":"system","content":"You are brief."}"#;
    format!(r#"{{"model":"m","messages":[{system},{{"role":"user","content":"{text}"}}],"max_tokens":9}}"#)
}

pub(crate) fn cases() -> Vec<Case> {
    let one = |(name, body): (&'static str, Bytes)| {
        Case::new(format!("model/{name}"), move || {
            let (place, body) = (Place::default(), body.clone());
            move || place.model(black_box(&body)).map_or(0, |model| model.len())
        })
    };
    bodies().into_iter().map(one).collect()
}

/// Chats of many messages, and of one that is long, with the model at either end.
fn bodies() -> Vec<(&'static str, Bytes)> {
    let text = "The quick brown fox said:\\n \\\"jump over the lazy dog, and then over this one\\\". ";
    let message = format!(r#"{{"role":"user","content":"{}"}}"#, text.repeat(12));
    let many = vec![message.as_str(); SIZE / (message.len() + 1) - 1].join(",");
    let long = format!(r#"{{"role":"user","content":"{}"}}"#, "x ".repeat(SIZE / 2 - 100));
    let body = |messages: &str, is_first: bool| {
        let (model, messages) = (r#""model":"org/model""#, format!(r#""messages":[{messages}]"#));
        let text =
            if is_first { format!("{{{model},{messages}}}") } else { format!("{{{messages},{model}}}") };
        Bytes::from(text)
    };
    vec![
        ("1 MiB chat, model first", body(&many, true)),
        ("1 MiB chat, model last", body(&many, false)),
        ("1 MiB message, model last", body(&long, false)),
    ]
}
