//! Refused configs: each mistake in `pools`, with its message.

use super::refused::{Cases, assert_refused};
use super::{SERVER, problems};

const POOLS: Cases = &[
    ("", &[": has no pools; at least 1 is needed"]),
    ("[]", &[": expected a mapping (`key: value`), found a list"]),
    ("{}", &[": has no pools; at least 1 is needed"]),
    ("x", &[": expected a mapping (`key: value`), found `x`"]),
    (
        "{a: }",
        &[
            ".a.nodes: is missing; write at least one, such as `nodes: [192.168.0.150:9997]`, or the `sources` that they come from",
        ],
    ),
    ("{a: [n:1]}", &[".a: expected a mapping (`key: value`), found a list"]),
    (r#"{"a b": {nodes: [n:1]}}"#, &[".a b: `a b` is not a name; use 1 to 128 of A-Z a-z 0-9 . _ : [ ] -"]),
    (
        "{a: {nodes: [n:1]}, b: {nodes: [n:1]}}",
        &[".b.models: `*` is already in pool `a`; list each model once, in one pool"],
    ),
    (
        r#"{a: {nodes: [n:1], models: ["q*", m]}, b: {nodes: [n:1], models: ["q*"]}}"#,
        &[".b.models: `q*` is already in pool `a`; list each model once, in one pool"],
    ),
    (
        "{a: {nodes: [n:1], models: [m]}, b: {nodes: [n:1], models: [n], aliases: {m: n, n: x}}}",
        &[
            ".b.aliases.m: `n` is an alias itself; name the model that the nodes serve",
            ".b.aliases.m: `m` is already in pool `a`; give each name to one pool",
        ],
    ),
    (
        "{a: {nodes: [n:1], aliases: {m: x}}, b: {nodes: [n:1], models: [m]}}",
        &[".b.models: `m` is already in pool `a`; list each model once, in one pool"],
    ),
    (
        "{a: {nodes: [n:1], path_prefix: /t/a}, b: {nodes: [n:1], path_prefix: /t}, c: {nodes: [n:1], path_prefix: /ta}}",
        &[".b.path_prefix: `/t` overlaps with `/t/a` of pool `a`; use prefixes of which none begins another"],
    ),
    (
        "{a: {nodes: [n:1], header: {name: X-P, value: v}}, b: {nodes: [n:1], header: {name: x-p, value: v}}}",
        &[".b.header: is already that of pool `a`; give each pool a value of its own"],
    ),
    (
        "{a: {nodes: [n:1], spill: b}, b: {nodes: [n:1], models: off, spill: a}, c: {nodes: [n:1], models: [c], spill: d}}",
        &[
            ".a.spill: leads in a circle: a, b, a",
            ".b.spill: leads in a circle: b, a, b",
            ".c.spill: there is no pool `d`",
        ],
    ),
    ("{a: {nodes: [n:1], spill: a}}", &[".a.spill: leads in a circle: a, a"]),
    (
        "{a: {nodes: [n:1], spill: b}, b: {nodes: [n:1], models: off}, c: {nodes: [n:1], models: off}}",
        &[".c: no request comes here: list models, or name it in a path_prefix, header, spill or split"],
    ),
    (
        "{a: {nodes: [n:1]}, b: {nodes: [n:1], models: off}, c: {nodes: [n:1], models: off}}",
        &[
            ".b: no request comes here: list models, or name it in a path_prefix, header, spill or split",
            ".c: no request comes here: list models, or name it in a path_prefix, header, spill or split",
        ],
    ),
    ("{a: {nodes: [n:1]}, a: {nodes: [n:1]}}", &[".a: appears twice; the first is on line 2"]),
    ("{a: {nodes: n:1}}", &[".a.nodes: expected a list (`[a, b]`), found `n:1`"]),
    (
        "{a: {nodes: [{address: n:1, backup: true}]}}",
        &[".a.nodes: each of them is a `backup`; leave at least one without, for which the others stand in"],
    ),
    (
        "{a: {}}",
        &[
            ".a.nodes: is missing; write at least one, such as `nodes: [192.168.0.150:9997]`, or the `sources` that they come from",
        ],
    ),
];

#[test]
fn pools() {
    assert_refused(POOLS, "2: pools", |keys| format!("{SERVER}pools: {keys}\n"));
}

const POOL_KEYS: Cases = &[
    ("models: []", &["models: has no entries; at least 1 is needed"]),
    ("models: m", &["models: expected a list (`[a, b]`), found `m`"]),
    ("models: [1.5]", &["models[0]: 1.5 is not text; put it in quotes"]),
    (
        r#"models: [""]"#,
        &[
            r#"models[0]: `` is not a model; use its name or a pattern such as "Qwen/*" (at most 256 bytes), or "*" for any"#,
        ],
    ),
    (
        "path_prefix: team",
        &[
            "path_prefix: `team` is not the beginning of paths; use one such as /team-a, without `/` at its end, or `off`",
        ],
    ),
    (
        "path_prefix: /team/../b",
        &[
            "path_prefix: `/team/../b` has a segment `.` or `..`, which clients resolve before they send; use one such as /team-a, or `off`",
        ],
    ),
    ("header: X-Pool", &["header: expected a mapping (`key: value`), found `X-Pool`"]),
    ("header: {name: X-Pool}", &["header.value: is missing; write the value that it has for this pool"]),
    (
        "header: {name: 'X Pool', value: a}",
        &["header.name: `X Pool` is not the name of a header field, such as X-Session-Id"],
    ),
    (
        "header: {name: X-Pool, value: 'a b'}",
        &["header.value: `a b` is not a value; use 1 to 256 letters, digits and signs, without blanks"],
    ),
    ("aliases: [a]", &["aliases: expected a mapping (`key: value`), found a list"]),
    ("aliases: {a: }", &["aliases.a: has no value; write one, or remove the key"]),
    ("aliases: {a: 'b*'}", &["aliases.a: `b*` is not the name of a model: 1 to 256 bytes, without `*`"]),
    ("aliases: {'a*': b}", &["aliases.a*: `a*` is not the name of a model: 1 to 256 bytes, without `*`"]),
    ("aliases: {a: b, b: c}", &["aliases.a: `b` is an alias itself; name the model that the nodes serve"]),
    ("aliases: {a: a}", &["aliases.a: `a` is an alias itself; name the model that the nodes serve"]),
    (r#"models: ["a**"]"#, &["models[0]: `a**` has two `*` side by side; one stands for any characters"]),
    (r#"models: ["a*", "a*"]"#, &["models: `a*` is already in pool `a`; list each model once, in one pool"]),
    ("models: [m, m]", &["models: `m` is already in pool `a`; list each model once, in one pool"]),
    (
        "balance: least_conn",
        &[
            "balance: `least_conn` is not one of least_in_flight, least_work, round_robin, random, affinity, ip_hash",
        ],
    ),
    (
        "balance: randm",
        &[
            "balance: `randm` is not one of least_in_flight, least_work, round_robin, random, affinity, ip_hash",
        ],
    ),
    (
        "balance: random, weight: auto",
        &["balance: `weight: auto` needs `balance: least_in_flight` or `least_work`"],
    ),
    (
        "balance: affinity, weight: auto",
        &["balance: `weight: auto` needs `balance: least_in_flight` or `least_work`"],
    ),
    (
        "balance: ip_hash, weight: auto",
        &["balance: `weight: auto` needs `balance: least_in_flight` or `least_work`"],
    ),
    ("affinity: {bound: 0.9}", &["affinity.bound: 0.9 is not a number from 1 to 100"]),
    ("affinity: {bound: 101}", &["affinity.bound: 101 is not a number from 1 to 100"]),
    ("affinity: {bound: off}", &["affinity.bound: `off` is not a number from 1 to 100"]),
    ("affinity: {headers: X-A}", &["affinity.headers: expected a list (`[a, b]`), found `X-A`"]),
    (
        r#"affinity: {headers: ["X A", 1.5]}"#,
        &[
            "affinity.headers[0]: `X A` is not the name of a header field, such as X-Session-Id",
            "affinity.headers[1]: 1.5 is not text; put it in quotes",
        ],
    ),
    ("affinity: {header: X-A}", &["affinity.header: unknown key; did you mean `headers`?"]),
    (
        "max_in_flight: much",
        &["max_in_flight: `much` is not a whole number from 1 to 1000000, `off` or `auto`"],
    ),
    ("weight: much", &["weight: `much` is not a weight; use a number above 0, or `auto`"]),
    ("http_version: 3", &["http_version: 3 is not one of 1.1, 2"]),
    ("http_version: 1", &["http_version: 1 is not one of 1.1, 2"]),
    ("queue: {size: -1}", &["queue.size: -1 is not a whole number from 0 to 1000000"]),
    ("queue: {reserve: 10}", &["queue.reserve: 10 is not a percentage from 0% to 90%, such as 10%"]),
    ("queue: {reserve: 91%}", &["queue.reserve: `91%` is not a percentage from 0% to 90%, such as 10%"]),
    (
        "queue: {shares: {batch: 0%}}",
        &["queue.shares.batch: `0%` is not a percentage from 1% to 50%, such as 10%"],
    ),
    (
        "queue: {shares: {batch: 50%, normal: 45%}}",
        &["queue.shares.batch: and `normal` are more than 90% together, and leave too little to interactive"],
    ),
    (
        "queue: {pass_priority: on}",
        &[
            "queue.pass_priority: needs `engine: vllm` or `engine: sglang`: no other is known to read `priority`",
        ],
    ),
    (
        "engine: vllm, queue: {pass_priority: up}",
        &["queue.pass_priority: `up` is not one of off, on, low_first, high_first"],
    ),
    (
        "queue: {class: {header: a b, default: high}}",
        &[
            "queue.class.header: `a b` is not the name of a header field, such as X-Session-Id, or `off`",
            "queue.class.default: `high` is not one of interactive, normal, batch",
        ],
    ),
    (
        r#"queue: {class: {values: {a: batch, A: normal, "b c": batch, d: urgent}}}"#,
        &[
            "queue.class.values.A: appears twice: letters of either case are the same",
            "queue.class.values.b c: is not a word; use 1 to 64 visible ASCII characters",
            "queue.class.values.d: `urgent` is not one of interactive, normal, batch",
        ],
    ),
    (
        "deadline: {timeout: 30s 5}",
        &["deadline.timeout: `30s 5` is not the name of a header field, such as X-Session-Id, or `off`"],
    ),
    ("deadline: {ttft: x}", &["deadline.ttft: unknown key; the keys here are timeout, at, millis"]),
    ("engine: vlm", &["engine: `vlm` is not one of generic, vllm, sglang, llamacpp"]),
    ("retry: {resume_max: 0}", &["retry.resume_max: 0 is not a whole number from 1 to 16"]),
    ("node: []", &["node: unknown key; did you mean `nodes`?"]),
    ("nodes: []", &["nodes: appears twice; the first is on line 3"]),
    ("health: {max_fails: -1}", &["health.max_fails: -1 is not a whole number from 0 to 1000000"]),
    (
        "health: {fail_timeout: 120s, max_eject: 60s}",
        &["health.max_eject: is shorter than fail_timeout (2m), the length of the first ejection"],
    ),
    (
        "health: {fail_timeout: 20x, max_eject: 1s}",
        &[
            "health.fail_timeout: `20x` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m",
        ],
    ),
    ("health: {check: /health}", &["health.check: expected a mapping (`key: value`), found `/health`"]),
    (
        "health: {check: {interval: 5s}}",
        &["health.check.path: is missing; write the path to request, such as `path: /health`"],
    ),
    (
        "health: {check: {path: health}}",
        &[
            "health.check.path: `health` is not a path; use one that begins with `/` and has no spaces, such as /health",
        ],
    ),
    ("health: {check: {path: /a, rise: 0}}", &["health.check.rise: 0 is not a whole number from 1 to 1000"]),
    ("health: {check: true}", &["health.check: expected a mapping (`key: value`), found true"]),
    ("retry: {on: error}", &["retry.on: expected a list (`[a, b]`), found `error`"]),
    (
        "retry: {on: [error, http_399, non_idempotent]}",
        &[
            "retry.on[1]: `http_399` is not error, timeout, or http_ and a status from 400 to 599, such as http_503",
            "retry.on[2]: `non_idempotent` is not error, timeout, or http_ and a status from 400 to 599, such as http_503",
        ],
    ),
    (
        "retry: {on: [off]}",
        &[
            "retry.on[0]: `off` is not error, timeout, or http_ and a status from 400 to 599, such as http_503",
        ],
    ),
    ("retry: {attempts: 0}", &["retry.attempts: 0 is not a whole number from 1 to 16"]),
    ("retry: {attempts: 17}", &["retry.attempts: 17 is not a whole number from 1 to 16"]),
    (
        "retry: {body_limit: 2GiB}",
        &["retry.body_limit: is larger than body_total (1GiB), which all kept bodies share"],
    ),
    (
        "retry: {body_limit: 2GiB, body_total: x}",
        &["retry.body_total: `x` is not a size; use a number and a unit, such as 32KiB or 64MiB"],
    ),
    (
        "retry: {methods: [post]}",
        &["retry.methods[0]: `post` is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"],
    ),
    (
        "retry: {paths: [/v1/mine/, /, /v1/*, '/mine?x=1']}",
        &[
            "retry.paths[1]: `/` is the ending of every path; the root of TGI and TEI is known",
            "retry.paths[2]: `/v1/*` is no ending of a path: there are no patterns or queries in it",
            "retry.paths[3]: `/mine?x=1` is no ending of a path: there are no patterns or queries in it",
        ],
    ),
    ("retry: {methods: POST}", &["retry.methods: expected a list (`[a, b]`), found `POST`"]),
    ("timeouts: {stall: 0}", &["timeouts.stall: 0 is out of range; use 1ms to 366d, or `off`"]),
    ("timeouts: {first_byte: 0}", &["timeouts.first_byte: 0 is out of range; use 1ms to 366d, or `off`"]),
    (
        "timeouts: {first_byte: x}",
        &[
            "timeouts.first_byte: `x` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m, or `off`",
        ],
    ),
    (
        "timeouts: {idle: off}",
        &["timeouts.idle: `off` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m"],
    ),
    ("timeouts: {red: 1h}", &["timeouts.red: unknown key; did you mean `read`?"]),
];

const SPLITS: Cases = &[
    ("[a]", &[": expected a mapping (`key: value`), found a list"]),
    ("{m: {a: 95, b: 6}}", &[".m: the parts are percent and make 101; they must make 100"]),
    (
        "{m: {a: 95, c: 5}}",
        &[".m.c: there is no pool `c`", ".m: the parts are percent and make 95; they must make 100"],
    ),
    (
        "{m: {a: 0.5, b: 100}, 'x*': {a: 100}}",
        &[
            ".m.a: 0.5 is not a whole number from 0 to 100",
            ".x*: `x*` is not the name of a model: 1 to 256 bytes, without `*`",
        ],
    ),
    (
        "{m: a}",
        &[
            ".m: expected a mapping (`key: value`), found `a`",
            ".m: the parts are percent and make 0; they must make 100",
        ],
    ),
];

#[test]
fn splits() {
    assert_refused(SPLITS, "3: splits", |keys| {
        format!("{SERVER}pools: {{a: {{nodes: [n:1]}}, b: {{nodes: [n:1], models: [b]}}}}\nsplits: {keys}\n")
    });
}

#[test]
fn pool_keys() {
    assert_refused(POOL_KEYS, "4: pools.a.", |keys| {
        format!("{SERVER}pools:\n  a: {{ nodes: [n1:80],\n      {keys} }}\n")
    });
}

const NODES: Cases = &[
    ("n1", &["[0]: `n1` is not the address of a node: it has no port; write host:port"]),
    (
        "n1:",
        &[
            "[0].address: is missing; write the node's host:port",
            "[0].n1: unknown key; the keys here are address, name, weight, max_in_flight, tls, authorization, drain, backup",
        ],
    ),
    ("n1:0", &["[0]: `n1:0` is not the address of a node: the port is a number from 1 to 65535"]),
    ("n1:x", &["[0]: `n1:x` is not the address of a node: the port is a number from 1 to 65535"]),
    (
        "n1:80/v1",
        &[
            "[0]: `n1:80/v1` is not the address of a node: a path in front of the requests' own is not supported yet; write only host:port",
        ],
    ),
    (
        "http://n1:80/v1/",
        &[
            "[0]: `http://n1:80/v1/` is not the address of a node: a path in front of the requests' own is not supported yet; write only host:port",
        ],
    ),
    (
        "https://n1:80",
        &["[0]: the system knows no certificate authorities (ca-certificates); name yours in `tls.ca`"],
    ),
    (
        "https://n1/v1",
        &[
            "[0]: `https://n1/v1` is not the address of a node: a path in front of the requests' own is not supported yet; write only host:port",
        ],
    ),
    (
        "https://n1:x",
        &["[0]: `https://n1:x` is not the address of a node: the port is a number from 1 to 65535"],
    ),
    (
        "unix:x.sock",
        &[
            "[0]: `unix:x.sock` is not the address of a node: the path of a unix socket is absolute; write unix:/path",
        ],
    ),
    (
        "unix:/run/",
        &[
            "[0]: `unix:/run/` is not the address of a node: the path of a unix socket is absolute; write unix:/path",
        ],
    ),
    ("unix:/run/a b.sock", &["[0]: the socket's file name cannot be the name; give it a `name`"]),
    ("unix:/a/x, unix:/b/x", &["[1]: the name `x` is already that of nodes[0]"]),
    (
        "n1..:80",
        &["[0]: `n1..:80` is not the address of a node: the host is neither an IP address nor a host name"],
    ),
    (
        "10.0.0.1.:80",
        &[
            "[0]: `10.0.0.1.:80` is not the address of a node: the host is neither an IP address nor a host name",
        ],
    ),
    (
        "http://me:secret@n1:80",
        &[
            "[0]: `http://me:secret@n1:80` is not the address of a node: a user and a password in front of the host are not supported",
        ],
    ),
    ("ftp://n1:80", &["[0]: `ftp://n1:80` is not the address of a node: it must be a host and a port only"]),
    (
        "300.1.1.1:80",
        &[
            "[0]: `300.1.1.1:80` is not the address of a node: the host is neither an IP address nor a host name",
        ],
    ),
    (
        "-n:80",
        &["[0]: `-n:80` is not the address of a node: the host is neither an IP address nor a host name"],
    ),
    ("127.0.0.1:9999", &["[0]: 127.0.0.1:9999 leads back to the gateway, which listens on 127.0.0.1:9999"]),
    (
        "{address: localhost:9999}",
        &["[0]: localhost:9999 leads back to the gateway, which listens on 127.0.0.1:9999"],
    ),
    ("n1:80, n1:80", &["[1]: the address n1:80 is already that of nodes[0]"]),
    ("n1:80, N1:80", &["[1]: the address n1:80 is already that of nodes[0]"]),
    (
        r#""[x]:80""#,
        &["[0]: `[x]:80` is not the address of a node: the text in brackets is not an IPv6 address"],
    ),
    ("8000", &["[0]: 8000 is not the address of a node: it has no port; write host:port"]),
    ("[n1:80]", &["[0]: expected text, found a list"]),
    ("{}", &["[0].address: is missing; write the node's host:port"]),
    ("{name: a}", &["[0].address: is missing; write the node's host:port"]),
    (
        r#"{address: n:1, name: "a b"}"#,
        &["[0].name: `a b` is not a name; use 1 to 128 of A-Z a-z 0-9 . _ : [ ] -"],
    ),
    (
        "{address: n:1, weight: 0}",
        &["[0].weight: 0 is not a weight; use a number above 0, or `drain: true` to stop traffic"],
    ),
    (
        "{address: n:1, weight: -1}",
        &["[0].weight: -1 is not a weight; use a number from 0.000001 to 1000000"],
    ),
    ("{address: n:1, weight: x}", &["[0].weight: `x` is not a weight; use a number above 0, or `auto`"]),
    (
        "{address: n:1, weight: .inf}",
        &["[0].weight: inf is not a weight; use a number from 0.000001 to 1000000"],
    ),
    (
        "{address: n:1, weight: 1e7}",
        &["[0].weight: 10000000 is not a weight; use a number from 0.000001 to 1000000"],
    ),
    (
        "{address: n:1, max_in_flight: 0}",
        &["[0].max_in_flight: 0 is not a whole number from 1 to 1000000, `off` or `auto`"],
    ),
    ("{address: n:1, backup: yes}", &["[0].backup: `yes` is not a switch; use true or false"]),
    ("{address: n:1, drain: yes}", &["[0].drain: `yes` is not a switch; use true or false"]),
    (
        "{address: n:1, max_fails: 5}",
        &[
            "[0].max_fails: unknown key; the keys here are address, name, weight, max_in_flight, tls, authorization, drain, backup",
        ],
    ),
    ("{name: a, address: n:1}, {name: a, address: n:2}", &["[1]: the name `a` is already that of nodes[0]"]),
    ("null", &["[0]: has no value; write one, or remove the key"]),
    (r#""""#, &["[0]: `` is not the address of a node: it has no port; write host:port"]),
];

#[test]
fn nodes() {
    assert_refused(NODES, "3: pools.a.nodes", |keys| {
        format!("{SERVER}pools: {{ a: {{ nodes: [\n    {keys}\n  ] }} }}\n")
    });
}

#[test]
fn an_address_too_long_to_be_a_name() {
    let label = "a".repeat(60);
    let long = format!("{label}.{label}.{label}:80");
    let text = format!("{SERVER}pools: {{ a: {{ nodes: [{long}, {{ name: b, address: {long}1 }}] }} }}\n");
    assert_eq!(
        problems(&text),
        ["2: pools.a.nodes[0]: the address is too long to be the name; give it a `name`"]
    );
}

#[test]
fn more_than_there_may_be() {
    let nodes: String = (0..4097).map(|i| format!("n{i}:1,")).collect();
    let text = format!("{SERVER}pools: {{ a: {{ nodes: [{nodes}] }} }}\n");
    assert_eq!(problems(&text), ["2: pools.a.nodes: has 4097 nodes; at most 4096 are allowed"]);

    let pools: String = (0..65).map(|i| format!("p{i}: {{ models: [m{i}], nodes: [n:1] }},")).collect();
    let text = format!("{SERVER}pools: {{ {pools} }}\n");
    assert_eq!(problems(&text), ["2: pools: has 65 pools; at most 64 are allowed"]);
}
