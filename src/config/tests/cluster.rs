//! `cluster`: all forms of the URL, and what is wrong with others, without a word of what may be secret.

use std::time::Duration;

use super::{POOLS, SERVER, parse};
use crate::config::{Cluster, Config};

fn cluster(text: &str) -> Option<Cluster> {
    parse(&format!("{SERVER}{POOLS}cluster: {text}\n")).cluster
}

#[test]
fn a_cluster_has_its_defaults() {
    assert_eq!(cluster("off"), None);
    let cluster = cluster("{ redis: 'redis://r' }").expect("a cluster");
    assert_eq!(cluster.redis.address.to_string(), "r:6379");
    assert_eq!((cluster.name.as_str(), cluster.listen), ("evenkeel", None));
    assert_eq!(
        (cluster.interval, cluster.forget_after),
        (Duration::from_millis(100), Duration::from_mins(15))
    );
}

#[test]
fn urls_in_each_form() {
    // shown, user, password
    let table = [
        ("redis://10.0.0.1", "redis://10.0.0.1:6379", None, None),
        ("redis://r:7000/3", "redis://r:7000/3", None, None),
        ("rediss://r", "rediss://r:6379", None, None),
        ("redis://[::1]", "redis://[::1]:6379", None, None),
        ("redis://[::1]:7", "redis://[::1]:7", None, None),
        ("redis://:p%40ss@r", "redis://r:6379", None, Some("p@ss")),
        ("redis://u:a:b%25@r:1/0", "redis://r:1", Some("u"), Some("a:b%")),
    ];
    for (url, shown, user, password) in table {
        let redis = cluster(&format!("{{ redis: '{url}' }}")).expect("a cluster").redis;
        assert_eq!(
            (redis.to_string().as_str(), redis.user.as_deref(), redis.password.as_deref()),
            (shown, user, password)
        );
        assert!(!format!("{redis:?}").contains("p@ss"), "{redis:?}");
    }
}

#[test]
fn addresses_to_ask_at() {
    let listen = |text: &str| {
        cluster(&format!("{{ redis: 'redis://r', listen: '{text}' }}")).and_then(|cluster| cluster.listen)
    };
    let texts = ["10.0.0.5", "10.0.0.5:7", "::1", "[::1]", "[::1]:7"];
    let found = texts.map(|text| listen(text).map(|address| address.to_string()));
    let expected = ["10.0.0.5:0", "10.0.0.5:7", "[::1]:0", "[::1]:0", "[::1]:7"];
    assert_eq!(found, expected.map(|text| Some(text.to_owned())));
}

#[test]
fn problems_name_the_key_and_no_password() {
    let table = [
        ("{}", "cluster.redis", "is missing; name the server where the gateways meet"),
        (
            "{ redis: 'http://r' }",
            "cluster.redis",
            "is not the URL of a Redis server; write redis://host:6379",
        ),
        ("{ redis: 'redis://' }", "cluster.redis", "has no address of a Redis server"),
        ("{ redis: 'redis://u:geheim@:x' }", "cluster.redis", "has no address of a Redis server"),
        ("{ redis: 'redis://geheim@r' }", "cluster.redis", "has a name before the @ and no password"),
        ("{ redis: 'redis://:gehe%im@r' }", "cluster.redis", "write a % in it as %25"),
        ("{ redis: 'redis://:geheim@r/x' }", "cluster.redis", "names no database by a number"),
        ("{ redis: 'redis://r', name: 'a{b}' }", "cluster.name", "is not a name"),
        ("{ redis: 'redis://r', interval: 5ms }", "cluster.interval", "20ms"),
        ("{ redis: 'redis://r', listen: 0.0.0.0 }", "cluster.listen", "that the other gateways can reach"),
        ("{ redis: 'redis://r', forget_after: 1s }", "cluster.forget_after", "10s"),
        ("{ redis: 'redis://r', intervall: 1s }", "cluster.intervall", "interval"),
        ("yes", "cluster", ""),
    ];
    for (text, path, message) in table {
        let problems = Config::parse(&format!("{SERVER}{POOLS}cluster: {text}\n"), "a test").expect_err(text);
        let all = problems.to_string();
        let problem =
            problems.list.iter().find(|problem| problem.path == path && problem.message.contains(message));
        assert!(problem.is_some_and(|problem| problem.line.is_some()), "{text}: {all}");
        assert!(!all.contains("geheim"), "{all}");
    }
}
