//! Tests of the translation as a whole; tests/import has configs as they are in use.

mod pools;
mod traps;

use proptest::prelude::*;

use super::super::note::Kind;
use super::super::settle::{Import, Refusal};
use super::super::source::SourceFile;
use super::import;
use crate::config::{Config, Problems};

fn source(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn check(text: &str) -> Result<(), Problems> {
    Config::parse(text, "imported").map(|_| ())
}

fn imported(text: &str) -> Result<Import, Refusal> {
    import(&source("nginx.conf", text), &|_| Err("no files here".to_owned()), &check)
}

/// The config of a pool `a` with this upstream, and these lines in its location.
fn config(upstream: &str, location: &str) -> Config {
    let text = format!(
        "http {{ upstream a {{ {upstream} }} server {{ listen 80; location / {{ proxy_pass http://a; {location} }} }} }}"
    );
    let import = imported(&text).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
    Config::parse(&import.yaml, "a.yaml").expect("a valid config")
}

/// An upstream, more of its location, and the pool that means the same.
const POOLS: &[(&str, &str, &str)] = &[
    ("server a:1;", "", "nodes: [a:1]"),
    ("server a; server [::1]:2;", "", "nodes: [a:80, '[::1]:2']"),
    ("server unix:/run/a.sock;", "", "nodes: ['unix:/run/a.sock']"),
    (
        "server a:1 weight=3 max_conns=9; server b:1 backup; server c:1 down;",
        "",
        "nodes: [{ address: a:1, weight: 3, max_in_flight: 9 }, { address: b:1, backup: true }, { address: c:1, drain: true }]",
    ),
    (
        "server a:1 max_fails=2 fail_timeout=1m;",
        "",
        "{ nodes: [a:1], health: { max_fails: 2, fail_timeout: 1m } }",
    ),
    (
        "server a:1 max_fails=2; server b:1 max_fails=4;",
        "",
        "{ nodes: [a:1, b:1], health: { max_fails: 4 } }",
    ),
    ("least_conn; server a:1;", "", "{ nodes: [a:1], balance: least_in_flight }"),
    ("ip_hash; server a:1;", "", "{ nodes: [a:1], balance: ip_hash }"),
    ("hash $remote_addr consistent; server a:1;", "", "{ nodes: [a:1], balance: ip_hash }"),
    (
        "hash $http_x_user; server a:1;",
        "",
        "{ nodes: [a:1], balance: affinity, affinity: { headers: [X-User] } }",
    ),
    ("hash $request_id; server a:1;", "", "{ nodes: [a:1], balance: random }"),
    ("random two least_conn; server a:1;", "", "nodes: [a:1]"),
    ("random; server a:1;", "", "{ nodes: [a:1], balance: random }"),
    ("queue 9 timeout=7s; server a:1;", "", "{ nodes: [a:1], queue: { size: 9, timeout: 7s } }"),
    (
        "check interval=3000 rise=2 fall=5 timeout=1000 type=http; check_http_send \"GET /up HTTP/1.0\\r\\n\\r\\n\"; server a:1;",
        "",
        "{ nodes: [a:1], health: { check: { path: /up, interval: 3s, rise: 2, fall: 5, timeout: 1s } } }",
    ),
    (
        "server a:1;",
        "health_check uri=/up interval=9 passes=2 fails=4;",
        "{ nodes: [a:1], health: { check: { path: /up, interval: 9s, rise: 2, fall: 4 } } }",
    ),
    (
        "server a:1;",
        "proxy_connect_timeout 1; proxy_send_timeout 2s; proxy_read_timeout 3m;",
        "{ nodes: [a:1], timeouts: { connect: 1s, send: 2s, read: 3m } }",
    ),
    (
        "server a:1;",
        "proxy_next_upstream error invalid_header http_503 non_idempotent; proxy_next_upstream_tries 2;",
        "{ nodes: [a:1], retry: { on: [error, http_503], attempts: 2 } }",
    ),
    (
        "server a:1;",
        "proxy_next_upstream off; proxy_next_upstream_tries 0;",
        "{ nodes: [a:1], retry: { on: off } }",
    ),
    (
        "server a:1; server b.example.org resolve weight=2;",
        "",
        "{ nodes: [a:1], sources: [{ dns: 'b.example.org:80' }] }",
    ),
    ("server b.example.org service=http resolve;", "", "sources: [{ srv: _http._tcp.b.example.org }]"),
    ("server a:1;", "proxy_http_version 2;", "{ nodes: [a:1], http_version: 2 }"),
    ("server a:1 weight=0; server b:1 max_conns=-1;", "", "nodes: [a:1, b:1]"),
    ("server a:1; server a:1; server nowhere:99999;", "", "nodes: [a:1]"),
];

#[test]
fn an_upstream_and_its_location_mean_the_same_as_a_pool() {
    for (upstream, location, yaml) in POOLS.iter().copied() {
        let pool = if yaml.starts_with('{') { yaml.to_owned() } else { format!("{{ {yaml} }}") };
        let wanted =
            Config::parse(&format!("server: {{ listen: 0.0.0.0:80 }}\npools: {{ a: {pool} }}"), "a.yaml")
                .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config(upstream, location).pools, wanted.pools, "{upstream} {location}");
    }
}

#[test]
fn the_front_means_the_same() {
    for (server, yaml) in [
        ("", "listen: 0.0.0.0:80"),
        ("listen 127.0.0.1;", "listen: 127.0.0.1:80"),
        ("listen *:81; listen [::]:81 ipv6only=on; listen 127.0.0.1:81;", "listen: [0.0.0.0:81, '[::]:81']"),
        (
            "listen localhost:81; client_max_body_size 1g;",
            "{ listen: 127.0.0.1:81, client: { max_body: 1GiB } }",
        ),
        (
            "listen 81; keepalive_timeout 0; send_timeout 5s;",
            "{ listen: 0.0.0.0:81, client: { keepalive: off, send_timeout: 5s } }",
        ),
        (
            "listen 81; client_header_timeout 5s; client_body_timeout 6s; large_client_header_buffers 8 16k;",
            "{ listen: 0.0.0.0:81, client: { header_timeout: 5s, body_timeout: 6s, max_header: 128KiB } }",
        ),
        ("listen 81; access_log off;", "{ listen: 0.0.0.0:81, access_log: { format: off } }"),
        (
            "listen 81; access_log /var/log/nginx/x.log;",
            "{ listen: 0.0.0.0:81, access_log: { path: /var/log/evenkeel/x.log } }",
        ),
        (
            "listen 81; set_real_ip_from 10.0.0.0/8; set_real_ip_from unix:;",
            "{ listen: 0.0.0.0:81, trusted_proxies: [10.0.0.0/8] }",
        ),
        (
            "listen 81 ssl; ssl_certificate c.pem; ssl_certificate_key k.pem; ssl_protocols TLSv1.3; ssl_verify_client on; ssl_client_certificate ca.pem;",
            "listen: [{ address: 0.0.0.0:81, tls: { cert: c.pem, key: k.pem, min_version: '1.3', verify_client: on, client_ca: ca.pem } }]",
        ),
        ("listen 81 quic; listen 82;", "listen: 0.0.0.0:82"),
        ("listen 9990;", "{ listen: 0.0.0.0:9990, admin: 127.0.0.1:9991 }"),
    ] {
        let section = if yaml.starts_with('{') { yaml.to_owned() } else { format!("{{ {yaml} }}") };
        let wanted = Config::parse(
            &format!("server: {section}\npools: {{ main: {{ nodes: ['10.0.0.1:1'] }} }}"),
            "a.yaml",
        );
        let wanted = wanted.unwrap_or_else(|problems| panic!("{problems}"));
        let text = format!("server {{ {server} location / {{ proxy_pass http://10.0.0.1:1; }} }}");
        let import = imported(&text).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
        let found = Config::parse(&import.yaml, "a.yaml").expect("a valid config").server;
        let plain = |server: &crate::config::Server| format!("{server:?}").replace(char::is_numeric, "");
        // places in the file differ
        assert_eq!(plain(&found), plain(&wanted.server), "{server}");
        assert_eq!(
            (found.listen[0].address, found.client),
            (wanted.server.listen[0].address, wanted.server.client)
        );
    }
}

#[test]
fn a_text_that_is_not_nginxs_is_refused_with_its_line() {
    for (text, line, told) in [
        ("a {\n b;\n", 1, "`a` is not closed"),
        ("a;\n}", 2, "closes no block"),
        ("a;\nb {\n c }", 3, "before the `;`"),
        ("a;\nb", 2, "has no `;`"),
        ("a;\n;", 2, "no directive before it"),
        ("a \"b\nc", 1, "a quote is not closed"),
        ("a 'b'c;", 1, "a quote ends within a word"),
        ("a {\n content_by_lua_block {\n '}' \n }", 1, "not closed"),
        ("{% for x in y %}\nserver {{ x }};\n", 1, "it looks like a template: render it first"),
    ] {
        let refusal = imported(text).expect_err(text);
        let place = refusal.place.clone().map(|place| place.line);
        assert!(place == Some(line) && refusal.message.contains(told), "{text}: {refusal}");
    }
    let deep = "a {".repeat(100_000);
    assert!(imported(&deep).expect_err("too deep").message.contains("within each other"));
    assert!(
        imported("events {} http { server { listen 80; } }")
            .expect_err("no node")
            .message
            .contains("proxy_pass")
    );
}

#[test]
fn included_files_are_bounded_and_a_circle_is_named() {
    let files = |pattern: &str| match pattern {
        "nodes" => Ok(vec![source("nodes", "server a:1;"), source("nodes2", "server b:1;")]),
        "circle" => Ok(vec![source("circle", "include other;")]),
        "other" => Ok(vec![source("other", "include circle;")]),
        "again" => Ok(vec![source(&"x".repeat(1 << 20), "include again;")]),
        "many" => Ok(vec![source("many", ""); 600]),
        _ => Err("not there".to_owned()),
    };
    let import = |text: &str| import(&source("nginx.conf", text), &files, &check);
    let text = "upstream a { include nodes; include absent; } server { listen 80; location / { proxy_pass http://a; } }";
    let found = import(text).expect("a config");
    let config = Config::parse(&found.yaml, "a.yaml").expect("a valid config");
    assert_eq!(config.pools[0].nodes.len(), 2);
    assert!(found.yaml.contains("# nodes2:1: server b:1"), "{}", found.yaml);
    let left = found.notes.iter().find(|note| note.subject == "include absent").expect("a note");
    assert!(left.kind == Kind::Left && left.reason.contains("not there"));
    let crowd = "a;".repeat(40_000);
    for (text, told) in [
        (crowd.as_str(), "more than 30000 directives"),
        ("include circle;", "in a circle: circle, other, circle"),
        ("include many;", "more than 512 files"),
    ] {
        assert!(import(text).expect_err(told).message.contains(told), "{told}");
    }
}

#[test]
fn a_large_config_is_translated_in_time() {
    let servers: String = (0..3000).map(|at| format!("server 10.0.{}.{}:1;", at / 250, at % 250)).collect();
    let locations: String =
        (0..4000).map(|at| format!("location /{at}/ {{ proxy_pass http://h{}:1/; }}", at % 100)).collect();
    let text = format!(
        "upstream a {{ {servers} }} server {{ {locations} location / {{ proxy_pass http://a; }} }} {}",
        "nonsense;".repeat(9000)
    );
    let import = imported(&text).unwrap_or_else(|refusal| panic!("{refusal}"));
    let config = Config::parse(&import.yaml, "a.yaml").expect("a valid config");
    assert_eq!(config.pools.len(), 64);
}

#[test]
fn the_files_that_nginx_itself_has_found_are_one_text() {
    let text = "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok
# configuration file /etc/nginx/nginx.conf:
http { include conf.d/*.conf; include /etc/nginx/absent; }

# configuration file /etc/nginx/conf.d/b.conf:
# a comment
server { location / { proxy_pass http://10.0.0.1:1; } }

# configuration file /etc/nginx/conf.d/deep/c.conf:
server { listen 99; location / { proxy_pass http://10.0.0.2:1; } }
";
    let import = imported(text).expect("a config");
    assert!(import.yaml.contains("- 10.0.0.1:1 ") && !import.yaml.contains("10.0.0.2"), "{}", import.yaml);
    assert!(import.yaml.contains("# /etc/nginx/conf.d/b.conf:2: proxy_pass"), "{}", import.yaml);
    assert!(import.notes.iter().any(|note| note.subject == "include /etc/nginx/absent"));
}

#[test]
fn no_secret_is_copied() {
    const SECRET: &str = "hush-hush";
    let text = format!(
        "map $http_authorization $ok {{ default 0; \"Bearer {SECRET}\" 1; }}
        map $http_x_api_key $pool {{ default http://c:1; {SECRET} http://d:1; }}
        server {{ listen 80; set $key {SECRET}; add_header X-Key {SECRET}; if ($http_x = {SECRET}) {{ return 403; }}
        auth_basic {SECRET};
        location / {{ proxy_pass http://user:{SECRET}@a:1; proxy_set_header Authorization {SECRET}; }}
        location /k {{ proxy_pass $pool; }} location /q {{ proxy_pass http://e:1/?key={SECRET}; }}
        location /r {{ rewrite ^/r /s?key={SECRET} break; proxy_pass http://f:1; }}
        location /b {{ proxy_pass http://b:1; proxy_set_header X-Api-Key \"{SECRET}\"; return 403 {SECRET}; }} }}"
    );
    let import = imported(&text).expect("a config");
    assert!(!format!("{import:?}").contains(SECRET), "{import:#?}");
    let exposed =
        import.notes.iter().filter(|note| note.kind == Kind::Exposed).map(|note| note.subject.as_str());
    assert_eq!(exposed.collect::<Vec<_>>(), ["if", "auth_basic"]);
}

/// Directives of real configs, and what they would never be.
const WORDS: &[&str] = &[
    "server",
    "upstream a",
    "location /",
    "location = /x",
    "location ~ ^/(.*)$",
    "location /p/",
    "proxy_pass http://a",
    "proxy_pass http://a/",
    "proxy_pass http://b:1/v1/",
    "proxy_pass https://c",
    "proxy_pass http://$v",
    "proxy_pass http://unix:/s:/",
    "set $v a",
    "set $v $v",
    "set $v $w",
    "map $http_x $v",
    "map $uri $w",
    "split_clients $x $v",
    "default a",
    "default $v",
    "5% b:2",
    "x b:3",
    "~y c:4",
    "server a:1",
    "server b:2 weight=9",
    "server c",
    "server unix:/s",
    "server a:1 backup",
    "server a:1 resolve",
    "server b service=x resolve",
    "server $h:1",
    "server [::]:0",
    "server é:1",
    "least_conn",
    "ip_hash",
    "hash $http_x",
    "hash",
    "random two",
    "sticky",
    "zone z",
    "queue x",
    "listen 80",
    "listen [::]:80 ssl",
    "listen 0",
    "listen unix:/x",
    "listen 9990",
    "listen a:b:c",
    "server_name x *.y",
    "server_name \"a b\"",
    "ssl_certificate /c",
    "ssl_certificate_key /k",
    "ssl_verify_client on",
    "proxy_read_timeout 0",
    "proxy_read_timeout 999y",
    "proxy_send_timeout x",
    "proxy_next_upstream error http_999 http_404",
    "proxy_next_upstream_tries 99",
    "client_max_body_size 0",
    "client_max_body_size 9999999999g",
    "large_client_header_buffers 9 9g",
    "keepalive_timeout 0",
    "send_timeout 0",
    "access_log \"\"",
    "access_log /x main",
    "log_format main escape=json",
    "set_real_ip_from x",
    "set_real_ip_from ::1",
    "rewrite ^/p/(.*)$ /$1 break",
    "rewrite ^ / last",
    "if ($x)",
    "return 401",
    "internal",
    "health_check uri=x interval=0 passes=0",
    "check interval=x",
    "max_fails=0",
    "include x",
    "#",
    "\"",
    "'",
    "\\",
    "$",
    "{",
    "}",
    ";",
    "\n",
    "a_by_lua_block",
    "http",
    "events",
    "stream",
];

/// Texts of these in any order, most of them with the braces where they belong.
fn nginx_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS);
    let leaf = word.prop_map(|word| format!("{word};\n"));
    let name = prop::sample::select(vec![
        "server",
        "upstream a",
        "location /",
        "location /p/",
        "http",
        "if ($x)",
        "map $http_x_model $v",
        "split_clients x $v",
    ]);
    leaf.prop_recursive(4, 60, 8, move |inner| {
        (name.clone(), prop::collection::vec(inner, 0..8))
            .prop_map(|(name, inner)| format!("{name} {{\n{}}}\n", inner.concat()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_comes_in_what_comes_out_is_valid(parts in prop::collection::vec(nginx_like(), 1..6)) {
        let text = parts.concat() + "upstream a { server 10.0.0.1:1; } server { location / { proxy_pass http://a; } }";
        for text in [text, parts.concat()] {
            match imported(&text) {
                Ok(import) => prop_assert!(check(&import.yaml).is_ok(), "{}\n{}", text, import.yaml),
                Err(refusal) => prop_assert!(!refusal.message.is_empty()),
            }
        }
    }

    #[test]
    fn any_text_is_translated_or_refused(text in "(?s).{0,200}|[a-z{}; \"'$\\\\#\n]{0,200}") {
        if let Ok(import) = imported(&text) {
            prop_assert!(check(&import.yaml).is_ok());
        }
    }
}
