//! The search for the model in a long body, beside a plain look through the same bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use evenkeel::route::Place;

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
