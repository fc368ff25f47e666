//! The key `sources`: what it may be, and what it may not.

use std::time::Duration;

use super::refused::{Cases, assert_refused};
use super::{SERVER, parse};
use crate::config::{Pool, Source};

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
