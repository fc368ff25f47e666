//! Hostile texts: none may make the parser panic, hang or use much memory.

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::problems;
use crate::config::Config;

/// Texts made of YAML pieces, which get past the YAML parser more often than random characters.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "server",
        "pools",
        "listen",
        "nodes",
        "weight",
        "retry",
        "on",
        "off",
        "a",
        "*a",
        "&a ",
        "!x ",
        "<<",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "\t",
        "# ",
        "| ",
        "? ",
        "0",
        "1.5",
        "-1",
        "127.0.0.1:9999",
        "5s",
        "9e999",
        ".nan",
        "null",
        "~",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "\u{feff}",
        "\0",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The reference config with any value in place of any key's value.
fn altered_reference() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "",
        "0",
        "-1",
        "1e400",
        ".inf",
        "true",
        "[]",
        "{}",
        "[[]]",
        "{a: b}",
        "x",
        "\"\"",
        "18446744073709551616",
        "[x]",
        "340282366920938463463374607431768211455",
        "-170141183460469231731687303715884105728",
        "off",
        "'*'",
    ]);
    (any::<prop::sample::Index>(), value).prop_map(|(index, value)| {
        let text = include_str!("../../../conf/evenkeel.yaml");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let index = index.index(lines.len());
        if let Some((key, _)) = lines[index].split_once(": ") {
            lines[index] = format!("{key}: {value}");
        }
        lines.join("\n")
    })
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        _ = Config::parse(&text, "t").map_err(|problems| problems.to_string());
    }

    #[test]
    fn any_yaml_like_text(text in yaml_like()) {
        _ = Config::parse(&text, "t").map_err(|problems| problems.to_string());
    }

    #[test]
    fn any_altered_reference(text in altered_reference()) {
        if let Err(problems) = Config::parse(&text, "t") {
            prop_assert!(!problems.list.is_empty());
            prop_assert!(problems.list.iter().all(|p| p.line.is_some()), "{problems}");
        }
    }
}

#[test]
fn any_bytes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("t.yaml");
    fs::write(&path, b"server:\n  listen: \xff\n").expect("a file");
    let problems = Config::load(&path).expect_err("not UTF-8").to_string();
    assert_eq!(problems, format!("{}:2: is not UTF-8 text", path.display()));

    let problems = Config::load(dir.path()).expect_err("a directory").to_string();
    assert!(problems.contains(": cannot be read: "), "{problems}");
    let problems = Config::load(&dir.path().join("none")).expect_err("no file").to_string();
    assert!(problems.contains("none: cannot be read: "), "{problems}");
}

#[test]
fn a_file_without_an_end_is_refused() {
    let problems = Config::load("/dev/zero".as_ref()).expect_err("endless").to_string();
    assert_eq!(problems, "/dev/zero: is larger than 4MiB");
}

/// Texts whose cost would grow faster than their length, such as nested aliases.
#[test]
fn bombs_are_refused_quickly() {
    let laughs: String = ('b'..='i')
        .zip('a'..='h')
        .map(|(name, of)| format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(", ")))
        .collect();
    let bombs = [
        (format!("a: &a [x]\n{laughs}"), "more than 1000000 values"),
        (format!("a: &a [{}]\nb: [{}]", "x,".repeat(5_000), "*a,".repeat(5_000)), "more than 1000000 values"),
        ("- ".repeat(1 << 20), "more than 32 nested lists and mappings"),
        ("[".repeat(1 << 20), "recursion limit exceeded"),
        ("{a: ".repeat(1 << 18), "recursion limit exceeded"),
        ("a: &a [*a]".to_owned(), "the alias refers to a value that it is part of"),
        ("x".repeat((4 << 20) + 1), "is larger than 4MiB"),
    ];
    for (text, message) in bombs {
        let start = Instant::now();
        let found = problems(&text).join("\n");
        assert!(found.contains(message), "{found}");
        assert!(start.elapsed() < Duration::from_secs(10), "{message}: took {:?}", start.elapsed());
    }
}

#[test]
fn a_file_full_of_problems_shows_the_first_hundred() {
    let keys: String = (0..1000).map(|i| format!("k{i}: 1\n")).collect();
    let found = problems(&keys);
    assert_eq!(found.len(), 101);
    assert_eq!(found[100], "and 902 more");
}

#[test]
fn a_message_shows_little_of_a_value_and_no_control_characters() {
    let secret = "s".repeat(500);
    let found =
        problems(&format!("server: {{ listen: \"\\e[31m{secret}\" }}\npools: {{ a: {{ nodes: [n:1] }} }}"));
    assert_eq!(found.len(), 1);
    assert!(!found[0].contains('\u{1b}') && found[0].contains("\\u{1b}[31msss"), "{}", found[0]);
    assert!(!found[0].contains(&"s".repeat(61)), "{}", found[0]);
}
