//! Warnings: each is there with its trap, and not without it.

use super::super::super::note::Kind;
use super::imported;

/// A config without any trap, in pieces.
struct Pieces {
    main: &'static str,
    upstream: &'static str,
    server: &'static str,
    location: &'static str,
}

const QUIET: Pieces = Pieces {
    main: "worker_processes auto;",
    upstream: "zone a 64k; least_conn; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3 fail_timeout=30s;",
    server: "listen 80;",
    location: "proxy_next_upstream error timeout non_idempotent; proxy_buffering off; proxy_read_timeout 1h;",
};

fn warnings(pieces: &Pieces) -> Vec<String> {
    let Pieces { main, upstream, server, location } = pieces;
    let text = format!(
        "{main} http {{ upstream a {{ {upstream} }} server {{ {server} location / {{ proxy_pass http://a; {location} }} }} }}"
    );
    let import = imported(&text).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
    let warned = import.notes.iter().filter(|note| matches!(note.kind, Kind::Warning | Kind::Exposed));
    warned.map(|note| format!("{}: {}; {}", note.subject, note.reason, note.advice)).collect()
}

#[test]
fn a_config_without_traps_has_no_warning() {
    assert_eq!(warnings(&QUIET), Vec::<String>::new());
}

/// Upstreams, each with a trap, and words of its warning.
const UPSTREAMS: &[(&str, &str)] = &[
    (
        "least_conn; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3;",
        "without `zone` each worker",
    ),
    (
        "zone a 64k; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3;",
        "has no method, so nginx takes turns",
    ),
    ("zone a 64k; least_conn; check type=http; server 10.0.0.1:1 max_fails=3;", "without `keepalive`"),
    ("zone a 64k; least_conn; keepalive 8; server 10.0.0.1:1 max_fails=3;", "write `engine: vllm`"),
    (
        "zone a 64k; least_conn; keepalive 8; check type=http; server 10.0.0.1:1;",
        "without `max_fails` nginx took",
    ),
    (
        "zone a 64k; least_conn; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=0;",
        "a dead node is never taken out",
    ),
    (
        "zone a 64k; least_conn; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3 fail_timeout=10000s;",
        "stays out that long",
    ),
    (
        "zone a 64k; least_conn; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3; server 10.0.0.2:1 max_fails=4;",
        "differ in it",
    ),
    (
        "zone a 64k; least_conn; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3 max_conns=9;",
        "nginx answers 502",
    ),
    (
        "zone a 64k; least_conn; keepalive 8; check type=http; server gpu:1 max_fails=3;",
        "uses one of them at a time",
    ),
    (
        "zone a 64k; ip_hash; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3;",
        "the first three numbers",
    ),
    (
        "zone a 64k; hash $request_id; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3;",
        "a random choice, blind to load",
    ),
    (
        "zone a 64k; hash $cookie_x; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3;",
        "knows sessions by a field",
    ),
    (
        "zone a 64k; sticky cookie x; keepalive 8; check type=http; server 10.0.0.1:1 max_fails=3;",
        "sets no cookies",
    ),
];

/// The same of locations.
const LOCATIONS: &[(&str, &str)] = &[
    ("proxy_buffering off; proxy_read_timeout 1h;", "`retry: { methods: off }` stops that"),
    (
        "proxy_next_upstream error timeout; proxy_buffering off; proxy_read_timeout 1h;",
        "without `non_idempotent`",
    ),
    ("proxy_next_upstream off; proxy_read_timeout 1h;", "holds back events of streams"),
    ("proxy_next_upstream off; proxy_buffering on; proxy_read_timeout 1h;", "holds back events of streams"),
    ("proxy_next_upstream off; proxy_buffering off;", "silent for 60s"),
    (
        "proxy_next_upstream off; proxy_buffering off; proxy_read_timeout 100;",
        "longer than the longest generation",
    ),
    (
        "proxy_next_upstream off; proxy_buffering off; proxy_read_timeout 1h; proxy_cache x;",
        "keeps no answers",
    ),
    (
        "proxy_next_upstream off; proxy_buffering off; proxy_read_timeout 1h; proxy_set_header Authorization x;",
        "`authorization: { file: FILE }`",
    ),
    (
        "proxy_next_upstream off; proxy_buffering off; proxy_read_timeout 1h; auth_basic x;",
        "lets everybody in",
    ),
    ("proxy_next_upstream off; proxy_buffering off; proxy_read_timeout 1h; deny all;", "lets everybody in"),
];

/// The same of servers.
const SERVERS: &[(&str, &str)] = &[
    ("listen 443 ssl;", "so it is without TLS here"),
    ("set_real_ip_from 10.0.0.0/8;", "from X-Forwarded-For alone"),
];

#[test]
fn each_trap_has_its_warning() {
    let upstreams = UPSTREAMS.iter().map(|(upstream, told)| (Pieces { upstream, ..QUIET }, told));
    let locations = LOCATIONS.iter().map(|(location, told)| (Pieces { location, ..QUIET }, told));
    let servers = SERVERS.iter().map(|(server, told)| (Pieces { server, ..QUIET }, told));
    for (pieces, told) in upstreams.chain(locations).chain(servers) {
        let found = warnings(&pieces);
        assert!(found.len() == 1 && found[0].contains(told), "{told}: {found:#?}");
    }
}
