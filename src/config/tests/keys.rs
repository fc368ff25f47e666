//! The file of keys: keys or problems.

use std::time::{Duration, SystemTime};

use crate::config::{ApiKey, Class, SecretHash};

fn hash(byte: &str) -> String {
    format!("\"sha256:{}\"", byte.repeat(32))
}

fn problems(text: &str) -> Vec<String> {
    let problems = ApiKey::parse(text, "k").expect_err("a text with problems");
    problems.to_string().lines().map(|line| line.trim_start_matches("k:").trim_start().to_owned()).collect()
}

#[test]
fn keys_in_each_form() {
    let text = format!(
        "# ours\nkeys:\n- {{ name: a, hash: {} }}\n- name: 7\n  hash: {}\n  models: [\"Qwen/*\", m]\n  class: batch\n  \
         max_in_flight: 64\n  requests_per_minute: 600\n  tokens_per_minute: off\n  expires: 2027-01-01T00:00:00Z\n\
         - {{ name: c, hash: {}, models: [m, \"*\"], expires: 1970-01-02, max_in_flight: off }}\n",
        hash("aB"),
        hash("02"),
        hash("03")
    );
    let keys = ApiKey::parse(&text, "k").unwrap_or_else(|problems| panic!("{problems}"));
    let [a, b, c] = &keys[..] else { panic!("{keys:?}") };
    assert_eq!(
        (&*a.name, a.hash, &a.models, a.class, a.expires),
        (
            "a",
            SecretHash::parse(&format!("sha256:{}", "ab".repeat(32))).flatten().expect("a hash"),
            &None,
            None,
            None
        )
    );
    assert_eq!((&*b.name, b.class, b.max_in_flight), ("7", Some(Class::Batch), Some(64)));
    assert_eq!((b.requests_per_minute, b.tokens_per_minute), (Some(600), None));
    let names: Vec<_> = b.models.iter().flatten().map(|pattern| pattern.as_str()).collect();
    assert_eq!(names, ["Qwen/*", "m"]);
    assert_eq!(c.models, None, "any");
    assert_eq!(c.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_hours(24)));
    assert_eq!(ApiKey::parse("keys: []", "k"), Ok(Vec::new()));
}

#[test]
fn refused_files() {
    let one = |rest: &str| format!("keys:\n- {{ name: a, hash: {}, {rest} }}", hash("01"));
    let wrong_hash = "hash: is not `sha256:` and 64 hexadecimal digits; `evenkeel key new NAME` writes it, and so does \
                      `printf %s \"$KEY\" | sha256sum`";
    let time = "is not a point in time; write 2027-01-01 or 2027-01-01T00:00:00Z, or `off`";
    for (text, want) in [
        (String::new(), vec!["is empty; write `keys: []` for no keys at all".to_owned()]),
        ("{}".into(), vec!["1: keys: is missing; list the keys there; `evenkeel key new NAME` adds one".into()]),
        ("keys: [a]".into(), vec!["1: keys[0]: is no mapping of `name` and `hash`; `evenkeel key new NAME` writes one".into()]),
        (
            "keys: [{}]".into(),
            vec![
                "1: keys[0].name: is missing; name the key's owner; logs and metrics show it".into(),
                "1: keys[0].hash: is missing; `evenkeel key new NAME` writes it".into(),
            ],
        ),
        (one("model: [m]"), vec!["2: keys[0].model: unknown key; did you mean `models`?".into()]),
        (
            one("models: []"),
            vec![
                "2: keys[0].models: has no entries; at least 1 is needed; leave the key out, or write [\"*\"], for any model"
                    .into(),
            ],
        ),
        (one("class: urgent"), vec!["2: keys[0].class: `urgent` is not one of interactive, normal, batch".into()]),
        (
            one("max_in_flight: 0"),
            vec!["2: keys[0].max_in_flight: 0 is not a whole number from 1 to 1048576, or `off`".into()],
        ),
        (
            one("requests_per_minute: 0.5"),
            vec!["2: keys[0].requests_per_minute: 0.5 is not a whole number from 1 to 1000000000, or `off`".into()],
        ),
        (one("expires: 2027-02-30"), vec![format!("2: keys[0].expires: {time}")]),
        (one("expires: 30d"), vec![format!("2: keys[0].expires: {time}")]),
        (
            format!("keys:\n- {{ name: a b, hash: {} }}", hash("0g")),
            vec![
                "2: keys[0].name: `a b` is not a name; use 1 to 128 of A-Z a-z 0-9 . _ : [ ] -".into(),
                format!("2: keys[0].{wrong_hash}"),
            ],
        ),
        (
            format!("keys:\n- {{ name: a, hash: {0} }}\n- {{ name: a, hash: {0} }}", hash("01")),
            vec![
                "3: keys[1].name: `a` is the name of the key on line 2 too".into(),
                "3: keys[1].hash: is that of the key on line 2 too".into(),
            ],
        ),
    ] {
        assert_eq!(problems(&text), want, "{text}");
    }
}

/// A key in the wrong place is told in no message.
#[test]
fn no_key_is_repeated() {
    let key = format!("ek-{}", "S3cret_".repeat(6));
    for text in [
        format!("keys: [{{ name: {key}, hash: {} }}]", hash("01")),
        format!("keys: [{{ name: a, hash: {key} }}]"),
        format!("keys: [{{ name: a, hash: [{key}] }}]"),
        format!("keys: [{{ name: a, hash: \"sha256:{key}\" }}]"),
    ] {
        let told = problems(&text).join("\n");
        assert!(!told.contains("S3cret"), "{told}");
    }
}
