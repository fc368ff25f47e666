//! Refused configs: each mistake in a file or in `server`, with its message.

use super::{POOLS, SERVER, problems};

/// Each case: a text, and the problems it causes, without the prefix that all share.
pub(super) type Cases = &'static [(&'static str, &'static [&'static str])];

/// Checks the problems of each case, after `text` has made a whole config of it.
pub(super) fn assert_refused(cases: Cases, shared: &str, text: impl Fn(&str) -> String) {
    for (written, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|end| format!("{shared}{end}")).collect();
        assert_eq!(problems(&text(written)), expected, "{written}");
    }
}

const FILES: Cases = &[
    ("", &["is empty; the smallest config has `server: { listen: ... }` and `pools`"]),
    ("# nothing", &["is empty; the smallest config has `server: { listen: ... }` and `pools`"]),
    ("hello", &["1: expected a mapping (`key: value`), found `hello`"]),
    ("- a", &["1: expected a mapping (`key: value`), found a list"]),
    ("server:\n\tlisten: x", &["2: the line is indented with a tab; YAML wants spaces"]),
    ("server:\n  a: 1\n\tlisten: x", &["3: the line is indented with a tab; YAML wants spaces"]),
    ("a: b: c", &["1: not valid YAML at column 5: mapping values are not allowed in this context"]),
    (
        "a: [\n",
        &["2: not valid YAML before this line: while parsing a node, did not find expected node content"],
    ),
    ("a:\n  b: [c,\n  d]", &["3: must be indented further than the key whose brackets it is in"]),
    ("a: *b", &["1: not valid YAML at column 4: while parsing node, found unknown anchor"]),
    ("%YAML 3.0\n---\na: 1", &["1: not valid YAML: found incompatible YAML document"]),
    ("a: 1\n---\nb: 1", &["2: a second YAML document begins here; a config is one document"]),
    ("a: !b c", &["1: YAML tags (`!name`) are not supported; quote the text if it begins with `!`"]),
    (
        "server: 1\npools: 2",
        &[
            "server.listen: is missing; write where clients connect, such as `listen: 0.0.0.0:9999`",
            "1: server: expected a mapping (`key: value`), found 1",
            "2: pools: expected a mapping (`key: value`), found 2",
        ],
    ),
];

#[test]
fn whole_files() {
    assert_refused(FILES, "", str::to_owned);
}

const SERVER_KEYS: Cases = &[
    ("listen: 1.1.1.1:1", &["listen: appears twice; the first is on line 1"]),
    ("acess_log: {}", &["acess_log: unknown key; did you mean `access_log`?"]),
    ("access-log: {}", &["access-log: unknown key; did you mean `access_log`?"]),
    ("tls: {}", &["tls: is not supported yet; remove it"]),
    ("api_keys: k.yaml", &["api_keys: expected a mapping (`key: value`), found `k.yaml`"]),
    (r#"api_keys: {file: ""}"#, &["api_keys.file: `` is not the path of a file, or `off`"]),
    ("api_keys: {files: k.yaml}", &["api_keys.files: unknown key; did you mean `file`?"]),
    (
        "zzz: 1",
        &[
            "zzz: unknown key; the keys here are listen, admin, metrics, api_keys, threads, access_log, tracing, client, trusted_proxies, stop_delay, drain_timeout, resolvers, state, response_headers",
        ],
    ),
    ("threads: 0", &["threads: 0 is not a whole number from 1 to 1024, or `auto`"]),
    ("threads: many", &["threads: `many` is not a whole number from 1 to 1024, or `auto`"]),
    ("threads: 1.5", &["threads: 1.5 is not a whole number from 1 to 1024, or `auto`"]),
    (
        "admin: 0.0.0.0:9990",
        &[
            "admin: 0.0.0.0:9990 can be reached from outside: give it `tls` and `tokens`, or use a loopback address such as 127.0.0.1:9990, and `{ address: 127.0.0.1:9990, probes: 0.0.0.0:9990 }` for probes and metrics alone",
        ],
    ),
    (
        "admin: 127.0.0.1:9999",
        &["admin: clients already connect at 0.0.0.0:9999; use another port, or `off`"],
    ),
    ("admin: x", &["admin: `x` is not an address to listen on: it has no port; write host:port, or `off`"]),
    (
        "admin: 9990",
        &["admin: 9990 is not an address to listen on: it has no port; write host:port, or `off`"],
    ),
    (
        "admin: { address: 0.0.0.0:1 }",
        &[
            "admin.address: 0.0.0.0:1 can be reached from outside: give it `tls` and `tokens`, or use a loopback address such as 127.0.0.1:9990, and `{ address: 127.0.0.1:9990, probes: 0.0.0.0:1 }` for probes and metrics alone",
        ],
    ),
    (
        "admin: { probes: 0.0.0.0:9999 }",
        &["admin: clients already connect at 0.0.0.0:9999; use another port, or `off`"],
    ),
    (
        "admin: { probes: 0.0.0.0:9990 }",
        &["admin.probes: overlaps with `address`, which has the probes too; use another port, or `off`"],
    ),
    ("admin:", &["admin: has no value; write one, or remove the key"]),
    ("access_log: off", &["access_log: expected a mapping (`key: value`), found `off`"]),
    ("access_log: {format: mian}", &["access_log.format: `mian` is not one of main, json, off"]),
    (
        r#"access_log: {format: off, path: ""}"#,
        &[r#"access_log.path: is empty; write a file, or "-" for standard output"#],
    ),
    (
        "client: {header_timeout: 5x}",
        &[
            "client.header_timeout: `5x` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m",
        ],
    ),
    ("client: {header_timeout: 0}", &["client.header_timeout: 0 is out of range; use 1ms to 366d"]),
    ("client: {header_timeout: 400d}", &["client.header_timeout: `400d` is out of range; use 1ms to 366d"]),
    (
        "client: {header_timeout: off}",
        &[
            "client.header_timeout: `off` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m",
        ],
    ),
    (
        "client: {sse_keepalive: 500ms}",
        &["client.sse_keepalive: `500ms` is out of range; use 1s to 1h, or `off`"],
    ),
    ("client: {sse_keepalive: 2h}", &["client.sse_keepalive: `2h` is out of range; use 1s to 1h, or `off`"]),
    (
        "client: {keepalive: -1}",
        &[
            "client.keepalive: -1 is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m, or `off`",
        ],
    ),
    (
        "client: {keepalive: x}",
        &[
            "client.keepalive: `x` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m, or `off`",
        ],
    ),
    ("client: {max_header: 1}", &["client.max_header: 1 is out of range; use 1KiB to 1MiB"]),
    (
        "client: {max_header: big}",
        &["client.max_header: `big` is not a size; use a number and a unit, such as 32KiB or 64MiB"],
    ),
    ("client: {max_headers: 1000}", &["client.max_headers: 1000 is not a whole number from 1 to 256"]),
    ("client: {max_body: 0}", &["client.max_body: 0 is out of range; use 1B to 1TiB"]),
    ("client: {body_min_rate: 0}", &["client.body_min_rate: 0 is out of range; use 1B to 1GiB, or `off`"]),
    (
        "client: {max_connections: many}",
        &["client.max_connections: `many` is not a whole number from 1 to 1048576"],
    ),
    ("client: []", &["client: expected a mapping (`key: value`), found a list"]),
    ("trusted_proxies: 10.0.0.0/8", &["trusted_proxies: expected a list (`[a, b]`), found `10.0.0.0/8`"]),
    (
        "trusted_proxies: [10.0.0.0/99, x]",
        &[
            "trusted_proxies[0]: `10.0.0.0/99` is not a network; use 10.0.0.0/8, or one IP address",
            "trusted_proxies[1]: `x` is not a network; use 10.0.0.0/8, or one IP address",
        ],
    ),
    (
        "drain_timeout: soon",
        &[
            "drain_timeout: `soon` is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m, or `off`",
        ],
    ),
    ("response_headers: maybe", &["response_headers: `maybe` is not a switch; use true or false"]),
    ("response_headers: 1", &["response_headers: 1 is not a switch; use true or false"]),
    ("<<: {}", &["<<: merge keys are not supported; give a whole section an alias (`health: *name`)"]),
    ("tls: {}", &["tls: is not supported yet; remove it"]),
    (
        "resolvers: [ns.example.org]",
        &[
            "resolvers[0]: `ns.example.org` is not the address of a name server; use an IP address, such as 10.0.0.53, or 10.0.0.53:53",
        ],
    ),
    ("resolvers: []", &["resolvers: has no entries; at least 1 is needed"]),
    ("drain_timeout: 1, drain_timeout: 2", &["drain_timeout: appears twice; the first is on line 2"]),
];

const TRACING: Cases = &[
    ("otlp: off, sample: 2", &["sample: 2 is not a part of the requests; use a number from 0 to 1"]),
    ("sample: 1.01", &["sample: 1.01 is not a part of the requests; use a number from 0 to 1"]),
    ("sample: 10%", &["sample: `10%` is not a part of the requests; use a number from 0 to 1"]),
    (r#"service_name: """#, &["service_name: `` is not the name of a service; use 1 to 128 bytes"]),
    (
        "otlp: 127.0.0.1:4318",
        &[
            "otlp: `127.0.0.1:4318` is not the URL of a collector: write its address for OTLP over HTTP, such as http://127.0.0.1:4318, or `off`",
        ],
    ),
    (
        r#"otlp: "https://c:4318""#,
        &[
            "otlp: `https://c:4318` is not the URL of a collector: TLS is not supported; run a collector beside the gateway, which may speak TLS, or `off`",
        ],
    ),
    (
        r#"otlp: "http://c""#,
        &["otlp: `http://c` is not the URL of a collector: it has no port; write host:port, or `off`"],
    ),
    (
        r#"otlp: "http://user:secret@c:4318""#,
        &[
            "otlp: the URL is not the URL of a collector: a user and a password in front of the host are not supported, or `off`",
        ],
    ),
    (
        r#"otlp: "http://c:4318/?key=1""#,
        &[
            "otlp: `http://c:4318/?key=1` is not the URL of a collector: it has no '?'; put keys into `headers`, or `off`",
        ],
    ),
    (r#"otlp: "http://127.0.0.1:9999""#, &["otlp: 0.0.0.0:9999 is the gateway itself; name the collector"]),
    (
        r#"headers: { "a b": x, Host: y, C: "s\tx", D: [s3cret], E: 1 }"#,
        &[
            "headers.a b: `a b` is not the name of a header field, such as X-Session-Id",
            "headers.Host: is written by the gateway itself; remove it",
            "headers.C: is not the value of a field; use text of at most 4096 visible characters",
            "headers.D: is not the value of a field; use text of at most 4096 visible characters",
        ],
    ),
    ("sampel: 1", &["sampel: unknown key; did you mean `sample`?"]),
];

#[test]
fn tracing() {
    assert_refused(TRACING, "2: server.tracing.", |keys| {
        format!("server: {{ listen: 0.0.0.0:9999,\n  tracing: {{ {keys} }} }}\n{POOLS}")
    });
}

#[test]
fn server_keys() {
    assert_refused(SERVER_KEYS, "2: server.", |keys| {
        format!("server: {{ listen: 0.0.0.0:9999,\n  {keys} }}\n{POOLS}")
    });
}

const LISTEN: Cases = &[
    ("[]", &[": has no addresses; at least 1 is needed"]),
    ("x", &[": `x` is not an address to listen on: it has no port; write host:port"]),
    ("[0.0.0.0:1, 1.2.3.4:1]", &["[1]: 1.2.3.4:1 is taken by 0.0.0.0:1"]),
    (
        "[0.0.0.0:1, x:1]",
        &[
            "[1]: `x:1` is not an address to listen on: use an IP address and a port, such as 0.0.0.0:9999 or [::]:9999",
        ],
    ),
    ("9999", &[": 9999 is not an address to listen on: it has no port; write host:port"]),
    (
        r#""*:9999""#,
        &[
            ": `*:9999` is not an address to listen on: use an IP address and a port, such as 0.0.0.0:9999 or [::]:9999",
        ],
    ),
    ("0.0.0.0", &[": `0.0.0.0` is not an address to listen on: it has no port; write host:port"]),
    ("0.0.0.0:0", &[": `0.0.0.0:0` is not an address to listen on: the port is a number from 1 to 65535"]),
    (
        "0.0.0.0:70000",
        &[": `0.0.0.0:70000` is not an address to listen on: the port is a number from 1 to 65535"],
    ),
    ("::1:80", &[": `::1:80` is not an address to listen on: an IPv6 address is written [address]:port"]),
    (r#""[::1:80""#, &[": `[::1:80` is not an address to listen on: it has no port; write host:port"]),
    (
        "[{adress: 1.1.1.1:1}]",
        &[
            "[0].address: is missing; write an IP address and a port",
            "[0].adress: unknown key; did you mean `address`?",
        ],
    ),
    (
        "[{address: 1.1.1.1:1, tls: {}}]",
        &[
            "[0].tls.cert: is missing; name the file of a certificate chain, and that of its `key`, or write `auto`",
        ],
    ),
    (
        "[{address: 1.1.1.1:1, tls: {cert: a.pem}}]",
        &["[0].tls.key: is missing; a certificate (`cert`) and its private key (`key`) go together"],
    ),
    (
        "[{address: 1.1.1.1:1, tls: {certificates: [{cert: a.pem, key: \"\"}, {}], min_version: 1.1}}]",
        &[
            "[0].tls.certificates[0].key: `` is not the path of a file",
            "[0].tls.certificates[1].cert: is missing; a certificate (`cert`) and its private key (`key`) go together",
            "[0].tls.min_version: 1.1 is not one of 1.2, 1.3",
        ],
    ),
    (
        "[{address: 1.1.1.1:1, tls: {cert: a, key: b, client_ca: c}}]",
        &[
            "[0].tls.client_ca: goes with `verify_client: on` or `optional`: it has the authorities of clients' certificates",
        ],
    ),
    (
        "[{address: 1.1.1.1:1, tls: {cert: a, key: b, verify_client: on}}]",
        &[
            "[0].tls.client_ca: goes with `verify_client: on` or `optional`: it has the authorities of clients' certificates",
        ],
    ),
    ("", &[": has no value; write one, or remove the key"]),
    (
        "example.com:80",
        &[
            ": `example.com:80` is not an address to listen on: use an IP address and a port, such as 0.0.0.0:9999 or [::]:9999",
        ],
    ),
    ("[[]]", &["[0]: expected text, found a list"]),
];

#[test]
fn listen() {
    assert_refused(LISTEN, "2: server.listen", |keys| format!("server:\n  listen: {keys}\n{POOLS}"));
}

#[test]
fn a_key_that_is_no_word() {
    let text = format!("server: {{ listen: 0.0.0.0:1, [a]: 1 }}\n{POOLS}");
    assert_eq!(problems(&text), ["1: server: a key is a plain word, not a list"]);
}

#[test]
fn the_default_admin_address_may_be_taken() {
    let expected = "1: server.admin: clients already connect at 127.0.0.1:9990; use another port, or `off`";
    assert_eq!(problems(&format!("server: {{ listen: 127.0.0.1:9990 }}\n{POOLS}")), [expected]);
}

#[test]
fn missing_sections() {
    assert_eq!(problems(SERVER), ["1: pools: is missing; name at least one pool with its nodes"]);
    let expected = "server.listen: is missing; write where clients connect, such as `listen: 0.0.0.0:9999`";
    assert_eq!(problems(POOLS), [expected]);
}

/// An unknown key, wrong types, bad values, a repeated key and a broken rule: none hides another.
#[test]
fn all_at_once_in_the_order_of_the_file() {
    let text = "\
server:
  listen: 0.0.0.0:9999
  treads: 4
  client: { max_body: lots }
pools:
  vllm:
    nodes:
      - 192.168.0.150:9997
      - { address: 192.168.0.58:9997, weight: 0 }
      - 192.168.0.150:9997
    health:
      fail_timeout: 120s
      max_eject: 60s
    retry: [error]
    health: {}
    discover: {}
";
    assert_eq!(
        problems(text),
        [
            "3: server.treads: unknown key; did you mean `threads`?",
            "4: server.client.max_body: `lots` is not a size; use a number and a unit, such as 32KiB or 64MiB",
            "9: pools.vllm.nodes[1].weight: 0 is not a weight; use a number above 0, or `drain: true` to stop traffic",
            "10: pools.vllm.nodes[2]: the address 192.168.0.150:9997 is already that of nodes[0]",
            "13: pools.vllm.health.max_eject: is shorter than fail_timeout (2m), the length of the first ejection",
            "14: pools.vllm.retry: expected a mapping (`key: value`), found a list",
            "15: pools.vllm.health: appears twice; the first is on line 11",
            "16: pools.vllm.discover: is not supported yet; remove it",
        ]
    );
}

#[test]
fn printed_with_the_name_of_the_file() {
    let problems = crate::config::Config::parse("a: 1", "conf/x.yaml").expect_err("no config");
    let printed = problems.to_string();
    assert!(
        printed.ends_with("conf/x.yaml:1: a: unknown key; the keys here are server, pools, splits, cluster"),
        "{printed}"
    );
}
