//! The key `sources`: what it may be, and what it may not.

use std::time::Duration;

use super::refused::{Cases, assert_refused};
use super::{SERVER, parse};
use crate::config::{FoundNode, Pool, Source};

fn pool(keys: &str) -> Pool {
    parse(&format!("{SERVER}pools: {{ a: {{ {keys} }} }}")).pools.remove(0)
}

#[test]
fn beside_nodes_and_in_their_place() {
    let text = "sources: [{dns: 'A.b:80'}, {srv: 'https://_H._tcp.b.', hold: off}, {file: n.json}]";
    let only = pool(text);
    let origins: Vec<_> = only.sources.iter().map(|source| source.origin().to_string()).collect();
    assert_eq!(origins, ["dns a.b:80", "srv _h._tcp.b.", "file n.json"]);
    let dns = |source: &Source| match source {
        Source::Dns(dns) => Some((dns.https, dns.hold)),
        Source::File(_) | Source::Registered(_) => None,
    };
    let settings: Vec<_> = only.sources.iter().map(dns).collect();
    assert_eq!(settings, [Some((false, Duration::from_secs(600))), Some((true, Duration::ZERO)), None]);
    assert!(only.nodes.is_empty());
    let spare = pool("sources: [{file: f}], nodes: [{address: n:1, backup: true}], tls: {sni: n}");
    assert_eq!((spare.nodes.len(), spare.sources.len()), (1, 1), "those that are found may be the others");
    let without = pool("sources: off, nodes: [n:1]");
    assert!(without.sources.is_empty());
}

const NO_NODES: &str = "nodes: is missing; write at least one, such as `nodes: [192.168.0.150:9997]`, or the `sources` that they \
     come from";

const SOURCES: Cases = &[
    ("off", &[NO_NODES]),
    ("[]", &[NO_NODES]),
    ("x", &["sources: expected a list (`[a, b]`), found `x`"]),
    ("[x]", &["sources[0]: expected a mapping (`key: value`), found `x`"]),
    (
        "[{}]",
        &[
            "sources[0]: names no place; write `dns: name:port`, `srv: _http._tcp.name`, `file: nodes.yaml` or `registration: on`",
        ],
    ),
    ("[{dns: 'a:1', file: f}]", &["sources[0]: names several places; give each of them an entry of its own"]),
    ("[{dns: a}]", &["sources[0].dns: `a` is not a name to look up: it has no port; write host:port"]),
    (
        "[{dns: '10.0.0.1:80'}]",
        &[
            "sources[0].dns: `10.0.0.1:80` is not a name to look up: an IP address has no further ones; write it under `nodes`",
        ],
    ),
    (
        "[{dns: 'unix:/s'}]",
        &["sources[0].dns: `unix:/s` is not a name to look up: a socket is no name; write it under `nodes`"],
    ),
    (
        "[{srv: '_http._tcp.a:80'}]",
        &[
            "sources[0].srv: `_http._tcp.a:80` is not the name of SRV records, which have no port; write it as _http._tcp.name",
        ],
    ),
    (
        "[{srv: a}]",
        &[
            "sources[0].srv: `a` is not the name of SRV records, which have no port; write it as _http._tcp.name",
        ],
    ),
    ("[{file: ''}]", &["sources[0].file: `` is not the path of a file"]),
    (
        "[{file: f, hold: 1m}]",
        &["sources[0].hold: unknown key; the keys here are dns, srv, file, registration"],
    ),
    (
        "[{dns: 'a:1', hold: x}]",
        &[
            "sources[0].hold: `x` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m, or `off`",
        ],
    ),
    ("[{dns: 'a:1'}, {dns: 'https://A:1'}]", &["sources[1]: dns a:1 is already sources[0]"]),
    ("[{file: f}, {file: f}]", &["sources[1]: file f is already sources[0]"]),
];

#[test]
fn refused() {
    assert_refused(SOURCES, "2: pools.a.", |keys| format!("{SERVER}pools: {{a: {{sources: {keys}}}}}\n"));
}

fn listed(text: &str) -> Result<String, Vec<String>> {
    let pool = pool("sources: [{file: f}], balance: random, nodes: [n:1]");
    let shown = |node: &FoundNode| {
        let settings = [
            node.name.as_ref().map(|name| format!("name {name}")),
            node.weight.map(|weight| format!("{weight:?}")),
            node.max_in_flight.map(|most| format!("{most:?}")),
            node.drain.then(|| "drain".to_owned()),
            node.backup.then(|| "backup".to_owned()),
        ];
        let settings: String = settings.into_iter().flatten().map(|text| format!(" {text}")).collect();
        format!("{}{settings}", node.address)
    };
    FoundNode::parse(text, "f", &pool)
        .map(|nodes| nodes.iter().map(shown).collect::<Vec<_>>().join(", "))
        .map_err(|problems| problems.to_string().lines().map(str::to_owned).collect())
}

#[test]
fn a_file_in_each_form() {
    let table = [
        ("[]", ""),
        ("- a:1\n- unix:/s\n", "a:1, unix:/s"),
        (
            "- {address: a:1, name: x, weight: 2, max_in_flight: 8, drain: true, backup: on}",
            "a:1 name x Fixed(2.0) Fixed(8) drain backup",
        ),
        (r#"["10.0.0.1:1", {"address": "[::1]:2"}]"#, "10.0.0.1:1, [::1]:2"),
        (
            "[\n\t{\n\t\t\"targets\": [\"a:1\", \"b:1\"],\n\t\t\"labels\": { \"job\": \"x\" }\n\t}, {\"targets\": [\"c:1\"]}\n]\n",
            "a:1, b:1, c:1",
        ),
    ];
    for (text, nodes) in table {
        assert_eq!(listed(text), Ok(nodes.to_owned()), "{text}");
    }
}

#[test]
fn a_file_with_problems() {
    let table: [(&str, &[&str]); 11] = [
        ("", &["f: is empty; write `[]` for no nodes at all"]),
        ("# nothing\n", &["f: is empty; write `[]` for no nodes at all"]),
        ("nodes: [a:1]", &["f:1: expected a list (`[a, b]`), found a mapping"]),
        ("- a:1\n- b", &["f:2: [1]: `b` is not the address of a node: it has no port; write host:port"]),
        ("- a:1\n- a:1", &["f:2: [1]: the address a:1 is already on line 1"]),
        ("- a:1\n- {address: b:1, name: 'a:1'}", &["f:2: [1]: the name `a:1` is already on line 1"]),
        (
            "- 127.0.0.1:9999",
            &["f:1: [0]: 127.0.0.1:9999 leads back to the gateway, which listens on 127.0.0.1:9999"],
        ),
        ("- {name: x}", &["f:1: [0].address: is missing; write the node's host:port"]),
        (
            "- {address: a:1, weight: auto}",
            &["f:1: [0].weight: `weight: auto` needs `balance: least_in_flight` or `least_work` of the pool"],
        ),
        (
            "- {address: a:1, tls: {ca: x}}",
            &["f:1: [0].tls: is that of the pool for nodes of a file; write it there"],
        ),
        (
            "- {targets: [a]}",
            &["f:1: [0].targets[0]: `a` is not the address of a node: it has no port; write host:port"],
        ),
    ];
    for (text, problems) in table {
        assert_eq!(listed(text), Err(problems.iter().map(|one| (*one).to_owned()).collect()), "{text}");
    }
    assert!(listed("[a:1, b").is_err_and(|list| list[0].contains("not valid YAML")));
    let large = format!("- a:1\n#{}\n", "x".repeat(1 << 20));
    assert_eq!(listed(&large), Err(vec!["f: is larger than 1MiB".to_owned()]));
}
