//! Tests of the translation as a whole; tests/import has configs with what they become.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::{Import, Refusal, SourceFile};
use crate::config::{Config, Problems};

fn check(text: &str) -> Result<(), Problems> {
    Config::parse(text, "imported").map(|_| ())
}

fn import(text: &str) -> Result<Import, Refusal> {
    super::import(&SourceFile { name: "a.yaml".to_owned(), text: text.to_owned() }, &check)
}

#[test]
fn without_a_server_there_is_no_config() {
    for text in [
        "",
        "model_list: []",
        "model_list: 3",
        "[]",
        "model_list: [{ model_name: a, litellm_params: { model: gpt-4o } }]",
    ] {
        let refusal = import(text).expect_err(text).to_string();
        assert!(refusal.contains("nothing to balance"), "{text}: {refusal}");
    }
    let refusal = import("model_list:\n  - a: [\n").expect_err("no YAML");
    assert!(refusal.place.is_some() && refusal.message.contains("not valid YAML"), "{refusal}");
}

/// Lines of the configs in tests/import, some of them left out or in another place.
fn shuffled() -> impl Strategy<Value = String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/litellm");
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut texts: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "yml"))
        .map(|path| fs::read_to_string(path).expect("a file"))
        .collect();
    texts.sort();
    let lines: Vec<String> = texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    (
        prop::sample::select(texts),
        prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(lines)), 0..4),
    )
        .prop_map(|(text, changes)| {
            let mut lines: Vec<&str> = text.lines().collect();
            for (at, line) in &changes {
                let at = at.index(lines.len());
                if line.len() % 2 == 0 {
                    lines.remove(at);
                } else {
                    lines.insert(at, line)
                }
            }
            lines.join("\n")
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_comes_in_what_comes_out_is_valid(text in shuffled()) {
        if let Ok(import) = import(&text) {
            prop_assert!(check(&import.yaml).is_ok(), "{}", import.yaml);
        }
    }
}
