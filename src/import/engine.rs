//! A guess of the engine from names: a line for the reader to take in, as a guess is no setting.

/// Names of engines as they stand in names of pools and nodes.
const ENGINES: [(&str, &str); 6] = [
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("llama.cpp", "llamacpp"),
    ("llamacpp", "llamacpp"),
    ("llama-cpp", "llamacpp"),
    ("llama_cpp", "llamacpp"),
];

/// The text of that line.
pub(super) fn hint<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    let found = ENGINES.iter().find(|(word, _)| names.iter().any(|name| name.contains(word)));
    match found {
        Some((_, engine)) => {
            format!("engine: {engine}   # say so, if they are: then a dead node is found by its check")
        }
        None => "engine: vllm   # or sglang, llamacpp, if they are: then a dead node is found by its check"
            .to_owned(),
    }
}
