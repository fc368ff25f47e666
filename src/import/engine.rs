//! The engine, told by names.

use super::draft::{Draft, Mapping};
use super::note::{Kind, Place};

/// Names of engines as they stand in names of upstreams and hosts, each with the word of the config.
const ENGINES: [(&str, &str); 7] = [
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("sgl-", "sglang"),
    ("llama.cpp", "llamacpp"),
    ("llamacpp", "llamacpp"),
    ("llama-cpp", "llamacpp"),
    ("llama_cpp", "llamacpp"),
];

/// A line for the reader to take in, if a name tells of an engine: a guess is no setting.
pub(super) fn remark<'a>(names: impl Iterator<Item = &'a str>, pool: &mut Mapping) {
    let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    let found = ENGINES.iter().find(|(word, _)| names.iter().any(|name| name.contains(word)));
    if let Some((_, engine)) = found {
        let text =
            format!("engine: {engine}   # if that is what the nodes run: then their check finds a dead one");
        pool.remark(&text, None);
    }
}

/// A warning of a pool that nobody checks.
pub(super) fn unchecked(place: Option<Place>, draft: &mut Draft) {
    let reason = "a dead node is found by the requests that fail there; Evenkeel can ask it by itself";
    let advice = "write `engine: vllm` (or sglang, llamacpp) if the nodes are that, or `health: { check: { path: ... } }`";
    draft.note(Kind::Warning, place, "", reason, advice);
}
