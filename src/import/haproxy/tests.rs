//! Tests of the translation as a whole; tests/import has configs with what they become.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::{Import, Refusal, SourceFile};
use crate::config::{Config, Problems};

fn check(text: &str) -> Result<(), Problems> {
    Config::parse(text, "imported").map(|_| ())
}

fn import(name: &str, text: &str) -> Result<Import, Refusal> {
    super::import(&SourceFile { name: name.to_owned(), text: text.to_owned() }, &check)
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/haproxy");
    let mut found: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "cfg"));
    found.sort();
    found
}

#[test]
fn without_a_server_there_is_no_config() {
    for text in [
        "",
        "frontend f\n bind :80\n default_backend gone",
        "backend b\n balance leastconn",
        "server a b:1",
        "listen\n server a b",
    ] {
        let refusal = import("a.cfg", text).expect_err(text).to_string();
        assert!(refusal.contains("nothing to balance"), "{text}: {refusal}");
    }
}

#[test]
fn an_import_is_bounded() {
    let many = |line: &dyn Fn(usize) -> String| (0..9_900).map(line).collect::<String>();
    let backends = many(&|at| {
        if at % 2 == 0 { format!("backend b{at}\n") } else { "server a 10.0.0.1:80\n".to_owned() }
    });
    let import = import("a.cfg", &backends).expect("a config");
    assert!(import.notes.iter().any(|note| note.reason.contains("at most 64 pools")));
    for line in [
        "use_backend b if a",
        "acl a path_beg /x",
        "default-server weight 2 inter 3s",
        "bind :80",
        "server x 10.0.0.1:80 check",
    ] {
        let text =
            format!("listen b\n server a 10.0.0.1:80\n acl a src 1\n{}", many(&|_| format!(" {line}\n")));
        let _ = super::import(&SourceFile { name: String::new(), text }, &check);
    }
    let text = "listen a\n".repeat(10_001);
    let refusal =
        super::import(&SourceFile { name: String::new(), text }, &check).expect_err("too many lines");
    assert!(refusal.message.contains("more than 10000 lines"), "{refusal}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Lines in any order, with words that belong elsewhere: what comes out is valid, and nothing panics.
    #[test]
    fn any_lines_give_a_valid_config_or_a_reason(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..9usize), 1..60),
    ) {
        let texts: Vec<String> = cases().iter().map(|path| fs::read_to_string(path).expect("a file")).collect();
        let lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
        let mut text = String::from("listen l\n mode http\n server a 10.0.0.1:80\n");
        for (line, word, place) in picks {
            let whole: &&str = line.get(lines.as_slice());
            let mut parts: Vec<&str> = whole.split(' ').collect();
            let place = place.min(parts.len());
            if place > 5 {
                let further: &&str = word.get(words.as_slice());
                parts.insert(place, further);
            }
            text += &parts.join(" ");
            text.push('\n');
        }
        if let Ok(import) = import("any.cfg", &text) {
            prop_assert!(check(&import.yaml).is_ok());
        }
    }
}
