//! The pools that a request comes to.

use super::imported;
use crate::config::{Config, Models, Pool};

/// The pools, each with its models (`*`, names, or - for none), its prefix and its field.
fn pools(text: &str) -> Vec<String> {
    let import = imported(text).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
    let config = Config::parse(&import.yaml, "a.yaml").expect("a valid config");
    config.pools.iter().map(told).collect()
}

fn told(pool: &Pool) -> String {
    let Models { names, patterns, any, .. } = &pool.models;
    let mut models: Vec<String> = names.iter().map(ToString::to_string).collect();
    models.extend(patterns.iter().map(|pattern| pattern.as_str().to_owned()));
    models.extend(any.then(|| "*".to_owned()));
    let models = if models.is_empty() { "-".to_owned() } else { models.join(",") };
    let prefix = pool.chosen_by.path_prefix.as_ref().map(|prefix| format!(" {prefix}"));
    let field = pool.chosen_by.header.as_ref().map(|field| format!(" {}={}", field.name, field.value));
    format!("{}: {models}{}{}", pool.name, prefix.unwrap_or_default(), field.unwrap_or_default())
}

const UPSTREAMS: &str =
    "upstream a { server 10.0.0.1:1; } upstream b { server 10.0.0.2:1; } upstream c { server 10.0.0.3:1; } ";

#[test]
fn paths_choose_a_pool() {
    for (locations, expected) in [
        ("location / { proxy_pass http://a; }", vec!["a: *"]),
        ("location / { proxy_pass http://a; } location /v1/ { proxy_pass http://a; }", vec!["a: *"]),
        ("location / { proxy_pass http://a/; }", vec!["a: *"]),
        ("location /v1/ { proxy_pass http://a/v1/; }", vec!["a: *"]),
        ("location /v1/ { proxy_pass http://a$request_uri; }", vec!["a: *"]),
        ("location / { proxy_pass http://a/v1/; }", vec!["a: *"]),
        ("proxy_pass http://a;", vec!["a: *"]),
        // the prefix is taken away
        ("location /x/ { proxy_pass http://a/; }", vec!["a: - /x"]),
        ("location /x/ { rewrite ^/x/(.*)$ /$1 break; proxy_pass http://a; }", vec!["a: - /x"]),
        ("location ~ ^/x/(.*)$ { proxy_pass http://a/$1$is_args$args; }", vec!["a: - /x"]),
        ("location /x/v1/ { proxy_pass http://a/v1/; }", vec!["a: - /x"]),
        ("location / { proxy_pass http://a; } location /x/ { proxy_pass http://a/; }", vec!["a: * /x"]),
        (
            "location / { proxy_pass http://a; } location /x/ { proxy_pass http://b/; }",
            vec!["a: *", "b: - /x"],
        ),
        // of two prefixes of which one begins the other the second cannot be
        (
            "location /x/ { proxy_pass http://a/; } location /x/y/ { proxy_pass http://b/; }",
            vec!["a: - /x", "b: - x-pool=b"],
        ),
        // the path stays: nothing but a model, a field or a prefix can choose
        (
            "location /v1/embeddings { proxy_pass http://a; } location /v1/chat/completions { proxy_pass http://b; }",
            vec!["a: - x-pool=a", "b: *"],
        ),
        (
            "location / { proxy_pass http://a; } location /v1/ { proxy_pass http://b; }",
            vec!["a: - x-pool=a", "b: *"],
        ),
        (
            "location / { proxy_pass http://a; } location @other { proxy_pass http://b; }",
            vec!["a: *", "b: - x-pool=b"],
        ),
        (
            "location / { proxy_pass http://a; if ($http_x) { proxy_pass http://b; } }",
            vec!["a: *", "b: - x-pool=b"],
        ),
        // nginx's own questions
        (
            "location / { auth_request /auth; proxy_pass http://a; } location = /auth { internal; proxy_pass http://b; }",
            vec!["a: *"],
        ),
        // addresses in place of upstreams
        (
            "location / { proxy_pass http://10.0.0.9:1; } location /x/ { proxy_pass http://localhost:2/; } location /y/ { proxy_pass http://gpu:3/; }",
            vec!["main: *", "main-2: - /x", "gpu: - /y"],
        ),
        ("location / { proxy_pass http://unix:/run/x.sock:/; }", vec!["main: *"]),
        ("location / { proxy_pass http://a; } location /g { grpc_pass grpc://b; }", vec!["a: *"]),
    ] {
        let text = format!("{UPSTREAMS} server {{ listen 80; {locations} }}");
        assert_eq!(pools(&text), expected, "{locations}");
    }
}

#[test]
fn servers_and_variables_choose_a_pool() {
    for (text, expected) in [
        (
            "server { listen 80; server_name x.org; location / { proxy_pass http://a; } }
          server { listen 80; server_name _ y.org; location / { proxy_pass http://b; } }
          server { listen 80; server_name *.z.org; location / { proxy_pass http://c; } }",
            vec!["a: *", "b: - host=y.org", "c: - x-pool=c"],
        ),
        (
            "server { listen 81; location / { proxy_pass http://a; } } server { listen 82; location / { proxy_pass http://b; } }",
            vec!["a: *", "b: - x-pool=b"],
        ),
        ("server { set $x b; set $y http://$x; location / { set $x a; proxy_pass $y; } }", vec!["a: *"]),
        (
            "map $http_x_tenant $pool { default a; blue b; ~red c; } server { location / { proxy_pass http://$pool; } }",
            vec!["a: *", "b: - x-tenant=blue", "c: - x-pool=c"],
        ),
        (
            "map $http_x_model $pool { default a; m-1 b; m-2 b; ~*^m-3 c; } server { location / { proxy_pass http://${pool}; } }",
            vec!["a: *", "b: m-1,m-2", "c: *m-3*"],
        ),
        (
            "map $host $pool { default http://a; y.org http://b; } server { location / { proxy_pass $pool; } }",
            vec!["a: *", "b: - host=y.org"],
        ),
        (
            "split_clients $request_id $pool { 10% b; * a; } server { location / { proxy_pass http://$pool; } }",
            vec!["b: - x-pool=b", "a: *"],
        ),
        (
            "map $uri $one { default a; } map $uri $two { default $one; /x b; } server { location / { proxy_pass http://$two; } }",
            vec!["a: *", "b: - x-pool=b"],
        ),
    ] {
        let found = pools(&format!("{UPSTREAMS} {text}"));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_target_that_is_not_known_is_told() {
    for (pass, told) in [
        ("http://$arg_x", "$arg_x, which is known only while nginx runs"),
        ("http://${GPU_HOST}:8000", "$GPU_HOST, a placeholder"),
        ("http://$loop", "name each other in a circle"),
        ("ftp://a", "the scheme ftp"),
        ("http://", "names no host"),
    ] {
        let text = format!(
            "server {{ set $loop $loop; location / {{ proxy_pass {pass}; }} location /x/ {{ proxy_pass http://10.0.0.1:1; }} }}"
        );
        let import = imported(&text).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
        assert!(import.notes.iter().any(|note| note.reason.contains(told)), "{pass}: {:#?}", import.notes);
    }
}
