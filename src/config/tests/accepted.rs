use std::path::PathBuf;
use std::time::Duration;

use super::{POOLS, SERVER, parse};
use crate::config::{
    Affinity, Balance, Client, Config, Health, HostPort, HttpVersion, LogFormat, LogTarget, MaxInFlight,
    Node, NodeAddress, Pool, Retry, Timeouts, Weight,
};

fn pool(keys: &str) -> Pool {
    let mut config = parse(&format!("{SERVER}pools: {{ a: {{ nodes: [n1:80, n2:80], {keys} }} }}"));
    config.pools.remove(0)
}

fn server(keys: &str) -> Config {
    parse(&format!("server: {{ listen: 0.0.0.0:9999, {keys} }}\n{POOLS}"))
}

#[test]
fn the_smallest_config_has_the_defaults() {
    let Config { server, pools, splits, cluster, notices } = parse(&format!("{SERVER}{POOLS}"));
    assert!(notices.is_empty() && splits.is_empty() && cluster.is_none());
    assert_eq!(server.listen[0].address.to_string(), "127.0.0.1:9999");
    assert_eq!(server.admin.address.map(|admin| admin.to_string()).as_deref(), Some("127.0.0.1:9990"));
    assert_eq!((server.threads, server.response_headers), (None, true));
    assert_eq!((server.access_log.target, server.access_log.format), (LogTarget::Stdout, LogFormat::Main));
    assert_eq!(server.client, Client::default());
    assert_eq!(server.client.max_body, 64 << 20);
    assert_eq!(server.drain_timeout, Duration::from_secs(900));

    let pool = &pools[0];
    assert_eq!((pool.name.as_str(), pool.models.any, pool.models.names.len()), ("a", true, 0));
    assert_eq!((pool.balance, pool.http_version), (Balance::LeastInFlight, HttpVersion::H1));
    assert_eq!(pool.affinity.headers, ["x-session-id", "x-correlation-id"]);
    assert_eq!(pool.affinity, Affinity::default());
    assert_eq!(pool.health, Health::default());
    assert_eq!((pool.health.max_fails, pool.health.fail_timeout), (5, Duration::from_secs(30)));
    assert_eq!(pool.retry, Retry::default());
    assert!(pool.retry.on.error && pool.retry.on.timeout);
    let tried_again: Vec<u16> = (400..600).filter(|code| pool.retry.on.status(*code)).collect();
    assert_eq!(tried_again, [429, 500, 502, 503, 504, 529]);
    assert_eq!(pool.timeouts, Timeouts::default());
    let names: Vec<_> = pool.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1:80", "n2:80"]);
}

#[test]
fn listeners_in_each_form() {
    let text =
        "server: { listen: [0.0.0.0:1, \"[::]:1\", localhost:2, { address: \"[::1]:3\" }], admin: off }\n";
    let listen = parse(&format!("{text}{POOLS}")).server.listen;
    let addresses: Vec<_> = listen.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:1", "[::]:1", "127.0.0.1:2", "[::1]:3"]);
}

#[test]
fn server_values_in_each_form() {
    let config = server(
        "threads: 4, trusted_proxies: [10.1.2.3/8, \"::1\"], drain_timeout: off, response_headers: off, admin: \"[::1]:5\", \
         metrics: { genai: on }, access_log: { path: /var/log/a.log, format: json }, client: { keepalive: 0, max_body: 1g }",
    );
    assert_eq!(config.server.threads, Some(4));
    let networks: Vec<_> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.server.drain_timeout, Duration::ZERO);
    assert!(!config.server.response_headers);
    assert!(config.server.metrics.genai);
    assert_eq!(config.server.access_log.target, LogTarget::File(PathBuf::from("/var/log/a.log")));
    assert_eq!((config.server.client.keepalive, config.server.client.max_body), (Duration::ZERO, 1 << 30));
}

#[test]
fn nodes_in_each_form() {
    let text = "pools: { a: { nodes: [http://N1.example:80/, 10.0.0.1:1, \"[0::1]:2\", n2.svc.:4, \
                { name: 7, address: my_host:3, weight: 0.5, max_in_flight: 8, drain: on }] } }";
    let nodes = parse(&format!("{SERVER}{text}")).pools.remove(0).nodes;
    let ip = |node: &Node| node.address.host_port().and_then(HostPort::ip);
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(addresses, ["n1.example:80", "10.0.0.1:1", "[::1]:2", "n2.svc.:4", "my_host:3"]);
    assert_eq!(nodes[0].address, NodeAddress::Http(HostPort { host: "n1.example".to_owned(), port: 80 }));
    assert_eq!((ip(&nodes[0]), ip(&nodes[2])), (None, "::1".parse().ok()));
    assert_eq!(
        (nodes[4].name.as_str(), nodes[4].weight, nodes[4].max_in_flight),
        ("7", Weight::Fixed(0.5), MaxInFlight::Fixed(8))
    );
    assert!(nodes[4].drain && !nodes[0].drain);
}

#[test]
fn a_pool_has_a_weight_for_the_nodes_that_have_none() {
    let nodes = "[n:1, { address: n:2 }, { address: n:3, weight: 2 }, { address: n:4, weight: auto }]";
    let weights = |more: &str| {
        let text = format!("{SERVER}pools: {{ a: {{ {more} nodes: {nodes} }} }}");
        parse(&text).pools.remove(0).nodes.into_iter().map(|node| node.weight).collect::<Vec<_>>()
    };
    let (one, two, auto) = (Weight::Fixed(1.0), Weight::Fixed(2.0), Weight::Auto);
    assert_eq!(weights(""), [one, one, two, auto]);
    assert_eq!(weights("weight: auto,"), [auto, auto, two, auto]);
    assert_eq!(weights("weight: 0.5,")[..2], [Weight::Fixed(0.5); 2]);
}

#[test]
fn a_pool_has_a_cap_for_the_nodes_that_have_none() {
    let nodes = "[n:1, { address: n:2 }, { address: n:3, max_in_flight: off }, { address: n:4, max_in_flight: auto }]";
    let caps = |more: &str| {
        let text = format!("{SERVER}pools: {{ a: {{ {more} nodes: {nodes} }} }}");
        parse(&text).pools.remove(0).nodes.into_iter().map(|node| node.max_in_flight).collect::<Vec<_>>()
    };
    let (off, auto) = (MaxInFlight::Off, MaxInFlight::Auto);
    assert_eq!(caps(""), [off, off, off, auto]);
    assert_eq!(caps("max_in_flight: auto,"), [auto, auto, off, auto]);
    assert_eq!(caps("max_in_flight: 8,")[..2], [MaxInFlight::Fixed(8); 2]);
}

#[test]
fn pool_values_in_each_form() {
    assert_eq!(pool("http_version: 1.1").http_version, HttpVersion::H1);
    assert_eq!(pool("http_version: 2").http_version, HttpVersion::H2);
    assert_eq!(pool("http_version: \"2\"").http_version, HttpVersion::H2);
    assert_eq!(pool("balance: round_robin").balance, Balance::RoundRobin);
    assert_eq!(pool("balance: ip_hash").balance, Balance::IpHash);
    let by_session = pool("balance: affinity, affinity: { headers: [X-Chat], bound: 2 }");
    assert_eq!((by_session.balance, by_session.affinity.bound), (Balance::Affinity, 2.0));
    assert_eq!(by_session.affinity.headers, ["x-chat"]);
    assert_eq!(pool("affinity: { headers: off }").affinity, Affinity { headers: vec![], bound: 1.2 });
    assert_eq!(pool("health: { max_fails: 0, slow_start: off }").health.slow_start, Duration::ZERO);
    assert_eq!(pool("health: { check: off }").health.check, None);
    let check = pool("health: { check: { path: /health } }").health.check.expect("a check");
    assert_eq!((check.path.as_str(), check.interval, check.fall), ("/health", Duration::from_secs(5), 3));
    let of_engine =
        pool("engine: sglang, health: { check: { fall: 2 } }").health.check.expect("the preset's");
    assert_eq!((of_engine.path.as_str(), of_engine.fall), ("/health", 2));
    assert!(pool("engine: vllm").health.check.is_some() && pool("engine: generic").health.check.is_none());
    assert_eq!(pool("engine: llamacpp, health: { check: off }").health.check, None);
    assert_eq!(pool("timeouts: { stall: 30s }").timeouts.stall, Some(Duration::from_secs(30)));
    let retry = pool("retry: { resume: on, resume_text_max: 64k }").retry;
    assert_eq!((retry.resume, retry.resume_max, retry.resume_text_max), (true, 1, 64 << 10));
    assert_eq!(pool("timeouts: { first_byte: 90 }").timeouts.first_byte, Some(Duration::from_secs(90)));
}

#[test]
fn a_long_fail_timeout_raises_the_longest_ejection() {
    let health = pool("health: { fail_timeout: 1h }").health;
    assert_eq!(health.max_eject, Duration::from_secs(3600));
}

#[test]
fn retrying_can_be_narrowed_and_switched_off() {
    let retry = pool("retry: { on: [http_404, timeout], methods: [GET, PUT] }").retry;
    assert!(retry.on.timeout && !retry.on.error && retry.on.status(404) && !retry.on.status(500));
    assert_eq!(retry.methods.into_iter().collect::<Vec<_>>(), ["GET", "PUT"]);
    let retry = pool("retry: { on: off, methods: off, wait: off, body_limit: 0 }").retry;
    assert!(!retry.on.error && retry.on.statuses.is_empty() && retry.methods.is_empty());
    assert_eq!((retry.wait, retry.body_limit), (Duration::ZERO, 0));
}

#[test]
fn models_are_shared_out_among_pools() {
    let text = "pools: { a: { models: [m1, \"*\"], nodes: [n:1] }, b: { models: [m2, m3], nodes: [n:1] } }";
    let pools = parse(&format!("{SERVER}{text}")).pools;
    assert!(pools[0].models.any && pools[0].models.names.contains("m1"));
    assert!(!pools[1].models.any && pools[1].models.names.contains("m3"));
}

#[test]
fn an_alias_stands_for_a_whole_section() {
    let text = "pools:\n  a: { models: [m], nodes: [n:1], health: &h { max_fails: 1 } }\n  b: { nodes: [n:2], health: *h }";
    let pools = parse(&format!("{SERVER}{text}")).pools;
    assert_eq!(pools[0].health, pools[1].health);
}

#[test]
fn sections_with_nothing_in_them_have_their_defaults() {
    let text = "pools:\n  a:\n    health:\n    retry:\n      # attempts: 3\n    nodes: [n:1]\n";
    assert_eq!(parse(&format!("\u{feff}{SERVER}{text}")).pools[0].retry, Retry::default());
}

#[test]
fn the_collector_in_each_form() {
    let tracing = |keys: &str| server(&format!("tracing: {{ {keys} }}")).server.tracing;
    assert_eq!((tracing(""), tracing("otlp: off, sample: 0.5")), (None, None));
    for (written, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://Collector:4318/", "http://collector:4318/v1/traces"),
        ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
        ("http://c:80/otlp/v1/traces/", "http://c:80/otlp/v1/traces"),
        ("http://c:80/v1/traces", "http://c:80/v1/traces"),
    ] {
        let tracing = tracing(&format!("otlp: \"{written}\"")).expect("it is on");
        assert_eq!((tracing.url.as_str(), tracing.sample), (url, 1.0), "{written}");
        assert_eq!((tracing.service_name.as_str(), tracing.headers.len()), ("evenkeel", 0));
    }
    let all = "otlp: \"http://c:1\", sample: 0, service_name: lb, headers: { X-Key: s3cret, n: 7 }";
    let tracing = tracing(all).expect("it is on");
    assert_eq!((tracing.sample, tracing.service_name.as_str()), (0.0, "lb"));
    assert_eq!(tracing.headers[0].1, "s3cret");
    assert!(!format!("{tracing:?}").contains("s3cret"), "a value may be a key");
}

#[test]
fn the_admin_address_in_each_form() {
    let admin = |value: &str| {
        let config = server(&format!("admin: {value}"));
        [config.server.admin.address, config.server.admin.probes]
            .map(|address| address.map(|address| address.to_string()))
    };
    let address = |text: &str| Some(text.to_owned());
    assert_eq!(admin("127.0.0.1:1"), [address("127.0.0.1:1"), None]);
    assert_eq!(admin("off"), [None, None]);
    assert_eq!(admin("{ probes: \"0.0.0.0:9991\" }"), [address("127.0.0.1:9990"), address("0.0.0.0:9991")]);
    assert_eq!(admin("{ address: off, probes: \"[::]:1\" }"), [None, address("[::]:1")]);
}
