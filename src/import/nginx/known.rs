//! The directives that have no translation, each with the reason.

use super::super::draft::Draft;
use super::super::note::Kind;
use super::parse::Directive;
use super::site::passes_on;

/// The names of some directives, the kind of note on them, the reason, and advice.
type Row = (&'static [&'static str], Kind, &'static str, &'static str);

/// Directives that have been translated, or noted where their meaning is known.
const TRANSLATED: &[&str] = &[
    "http",
    "events",
    "stream",
    "server",
    "location",
    "upstream",
    "include",
    "listen",
    "server_name",
    "proxy_pass",
    "grpc_pass",
    "set",
    "map",
    "split_clients",
    "geo",
    "default",
    "least_conn",
    "ip_hash",
    "hash",
    "random",
    "least_time",
    "fair",
    "sticky",
    "sticky_cookie_insert",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_connect_timeout",
    "proxy_send_timeout",
    "proxy_read_timeout",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_name",
    "proxy_ssl_certificate",
    "proxy_ssl_certificate_key",
    "proxy_ssl_verify",
    "proxy_cache",
    "proxy_set_header",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_protocols",
    "ssl_verify_client",
    "ssl_client_certificate",
    "access_log",
    "log_format",
    "client_max_body_size",
    "large_client_header_buffers",
    "client_header_timeout",
    "client_body_timeout",
    "send_timeout",
    "set_real_ip_from",
    "real_ip_header",
    "queue",
    "health_check",
    "check",
    "check_http_send",
    "keepalive_timeout",
    "types",
];

/// The reason and advice for rules on who may ask.
const GUARD: (&str, &str) = (
    "the rule on who may ask is not translated: the gateway lets everybody in",
    "see `server.api_keys` and `evenkeel key new`, `verify_client` of `listen`, or leave it to nginx in front",
);

const ROWS: &[Row] = &[
    (
        &["auth_basic", "auth_basic_user_file", "auth_request", "auth_request_set", "auth_jwt", "satisfy"],
        Kind::Exposed,
        GUARD.0,
        GUARD.1,
    ),
    (
        &["allow", "deny"],
        Kind::Exposed,
        "clients are not refused by their address: the gateway lets everybody in",
        "listen on an address that only they reach, use a firewall, or see `server.api_keys`",
    ),
    (
        &[
            "limit_req",
            "limit_req_zone",
            "limit_conn",
            "limit_conn_zone",
            "limit_rate",
            "limit_req_status",
            "limit_conn_status",
            "limit_req_log_level",
        ],
        Kind::Left,
        "clients are limited by their key, not by their address",
        "see `requests_per_minute`, `tokens_per_minute` and `max_in_flight` of `server.api_keys`; `max_in_flight` of a pool holds the rest in a queue",
    ),
    (
        &["if"],
        Kind::Left,
        "there are no conditions",
        "a pool is chosen by `models`, `header` or `path_prefix`; for keys see `server.api_keys`",
    ),
    (
        &["rewrite"],
        Kind::Left,
        "paths are not rewritten, but for a prefix of a pool that is taken away",
        "see `path_prefix`",
    ),
    (
        &["return", "error_page", "proxy_intercept_errors", "try_files", "internal", "recursive_error_pages"],
        Kind::Left,
        "the gateway gives no answers of its own but errors as OpenAI's clients know them",
        "",
    ),
    (
        &["root", "alias", "index", "autoindex", "expires", "etag", "default_type"],
        Kind::Left,
        "Evenkeel serves no files",
        "leave them to nginx",
    ),
    (
        &[
            "add_header",
            "proxy_hide_header",
            "proxy_pass_header",
            "proxy_ignore_headers",
            "more_set_headers",
            "more_clear_headers",
            "proxy_cookie_path",
            "proxy_cookie_domain",
            "proxy_redirect",
            "proxy_set_body",
            "proxy_method",
            "proxy_pass_request_headers",
            "proxy_pass_request_body",
            "sub_filter",
            "sub_filter_once",
            "sub_filter_types",
        ],
        Kind::Left,
        "answers and requests go on as they are: fields such as those of CORS are the nodes' own",
        "vLLM: --allowed-origins",
    ),
    (
        &["proxy_next_upstream_timeout"],
        Kind::Left,
        "retries are bounded by their number, and a wait for a node by `retry.wait`",
        "a client may send X-Request-Timeout",
    ),
    (
        &[
            "proxy_cache_path",
            "proxy_cache_valid",
            "proxy_cache_key",
            "proxy_cache_bypass",
            "proxy_no_cache",
            "proxy_cache_use_stale",
            "proxy_cache_lock",
            "proxy_cache_methods",
            "proxy_cache_min_uses",
            "proxy_store",
            "slice",
        ],
        Kind::Left,
        "Evenkeel keeps no answers",
        "",
    ),
    (&["mirror", "mirror_request_body"], Kind::Left, "requests are not sent twice", ""),
    (
        &["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass", "fastcgi_param", "uwsgi_param"],
        Kind::Left,
        "nodes speak HTTP",
        "",
    ),
    (
        &[
            "js_import",
            "js_set",
            "js_content",
            "js_path",
            "perl",
            "perl_modules",
            "js_header_filter",
            "js_body_filter",
        ],
        Kind::Left,
        "there are no scripts",
        "the model in a body is read by Evenkeel itself: see `models`",
    ),
    (
        &["real_ip_recursive"],
        Kind::Needless,
        "Evenkeel always takes the last address that is not itself trusted",
        "",
    ),
    (
        &[
            "worker_processes",
            "worker_connections",
            "worker_rlimit_nofile",
            "worker_cpu_affinity",
            "worker_priority",
            "worker_shutdown_timeout",
            "multi_accept",
            "use",
            "accept_mutex",
            "thread_pool",
            "aio",
        ],
        Kind::Needless,
        "one process serves with a thread for each core, and takes the open files that it may",
        "see `server.threads` and `client.max_connections`",
    ),
    (
        &[
            "keepalive",
            "keepalive_requests",
            "keepalive_time",
            "proxy_http_version",
            "proxy_socket_keepalive",
        ],
        Kind::Needless,
        "connections to nodes are HTTP/1.1 and are always kept, for `timeouts.idle`",
        "",
    ),
    (&["zone", "state"], Kind::Needless, "all threads count together", ""),
    (
        &[
            "proxy_buffering",
            "proxy_request_buffering",
            "proxy_buffer_size",
            "proxy_buffers",
            "proxy_busy_buffers_size",
            "proxy_max_temp_file_size",
            "proxy_temp_file_write_size",
            "proxy_temp_path",
            "client_body_buffer_size",
            "client_body_temp_path",
            "client_body_in_file_only",
            "client_header_buffer_size",
            "postpone_output",
            "proxy_headers_hash_max_size",
            "proxy_headers_hash_bucket_size",
            "proxy_limit_rate",
            "output_buffers",
            "fastcgi_temp_path",
            "uwsgi_temp_path",
            "scgi_temp_path",
            "fastcgi_buffers",
            "fastcgi_buffer_size",
            "fastcgi_read_timeout",
        ],
        Kind::Needless,
        "answers are never buffered, bodies of requests are kept in memory for a retry",
        "see `retry.body_limit`",
    ),
    (
        &[
            "proxy_ssl_server_name",
            "proxy_ssl_session_reuse",
            "proxy_ssl_verify_depth",
            "proxy_ssl_protocols",
            "proxy_ssl_ciphers",
        ],
        Kind::Needless,
        "nodes are told the name (SNI) always, by TLS 1.2 and 1.3",
        "",
    ),
    (
        &[
            "ssl_ciphers",
            "ssl_prefer_server_ciphers",
            "ssl_session_cache",
            "ssl_session_timeout",
            "ssl_session_tickets",
            "ssl_dhparam",
            "ssl_ecdh_curve",
            "ssl_stapling",
            "ssl_stapling_verify",
            "ssl_trusted_certificate",
            "ssl_buffer_size",
            "ssl_early_data",
            "ssl_conf_command",
            "ssl_verify_depth",
            "ssl_session_ticket_key",
        ],
        Kind::Needless,
        "the ciphers of TLS 1.2 and 1.3 are those that are safe today",
        "",
    ),
    (
        &[
            "http2",
            "http2_push_preload",
            "http2_max_concurrent_streams",
            "http3",
            "quic_retry",
            "http2_idle_timeout",
            "http2_recv_timeout",
        ],
        Kind::Needless,
        "HTTP/2 is always offered with TLS, HTTP/3 is not",
        "",
    ),
    (
        &[
            "gzip",
            "gzip_types",
            "gzip_vary",
            "gzip_proxied",
            "gzip_comp_level",
            "gzip_buffers",
            "gzip_http_version",
            "gzip_min_length",
            "gzip_disable",
            "gzip_static",
            "gunzip",
            "brotli",
            "brotli_types",
            "brotli_comp_level",
        ],
        Kind::Needless,
        "answers go on as the nodes pack them: packing streams delays their events",
        "",
    ),
    (
        &[
            "sendfile",
            "tcp_nopush",
            "tcp_nodelay",
            "sendfile_max_chunk",
            "directio",
            "open_file_cache",
            "open_file_cache_valid",
            "open_file_cache_min_uses",
            "open_file_cache_errors",
            "reset_timedout_connection",
            "lingering_close",
            "lingering_timeout",
            "lingering_time",
        ],
        Kind::Needless,
        "it tunes how nginx sends files and packets",
        "",
    ),
    (
        &[
            "user",
            "pid",
            "daemon",
            "master_process",
            "load_module",
            "lock_file",
            "pcre_jit",
            "env",
            "ssl_engine",
            "timer_resolution",
            "working_directory",
            "modules",
        ],
        Kind::Needless,
        "how the process is run is told by deploy/systemd and deploy/compose.yaml",
        "",
    ),
    (
        &["error_log", "log_not_found", "log_subrequest", "open_log_file_cache", "rewrite_log"],
        Kind::Needless,
        "the gateway's own log is standard error; RUST_LOG says how much",
        "",
    ),
    (
        &[
            "server_tokens",
            "server_names_hash_bucket_size",
            "server_names_hash_max_size",
            "types_hash_max_size",
            "types_hash_bucket_size",
            "variables_hash_max_size",
            "variables_hash_bucket_size",
            "map_hash_bucket_size",
            "map_hash_max_size",
            "charset",
            "underscores_in_headers",
            "ignore_invalid_headers",
            "chunked_transfer_encoding",
            "port_in_redirect",
            "server_name_in_redirect",
            "absolute_redirect",
            "merge_slashes",
            "max_ranges",
            "if_modified_since",
            "ssi",
            "proxy_ignore_client_abort",
            "proxy_force_ranges",
            "client_body_in_single_buffer",
            "msie_padding",
        ],
        Kind::Needless,
        "it has no counterpart, and no use here",
        "",
    ),
    (
        &["resolver", "resolver_timeout"],
        Kind::Needless,
        "names of nodes are looked up again and again by the system's resolver",
        "",
    ),
    (
        &["status_zone", "stub_status", "vhost_traffic_status_zone", "vhost_traffic_status_display", "api"],
        Kind::Needless,
        "see `server.admin`: status, metrics and a page are there",
        "",
    ),
];

/// Notes on all that has not been translated. `used`: the servers that have.
pub(super) fn sweep(block: &[Directive], used: &[&Directive], draft: &mut Draft) {
    for directive in block {
        let place = Some(directive.place.clone());
        let is_used = || used.iter().any(|server| std::ptr::eq(*server, directive));
        match directive.name.as_str() {
            "server" if directive.block.is_some() && !is_used() => {
                let advice = "leave it to nginx, if it is needed";
                draft.note(Kind::Left, place, &server_words(directive), "it leads to no nodes", advice);
            }
            "location" if !passes_on(directive) => {
                draft.note(Kind::Left, place, &directive.words(), "it leads to no nodes", advice(directive));
            }
            "location" => {
                // a rewriting of paths on the way to nodes has been judged with these
                let own = directive.children().iter().filter(|one| one.name != "rewrite");
                own.for_each(|one| sweep(std::slice::from_ref(one), used, draft));
            }
            "upstream" => {
                let own = directive.children().iter().filter(|one| one.name != "server");
                own.for_each(|one| note(one, &one.name, draft));
            }
            // entries, not directives
            "map" | "geo" | "split_clients" | "types" | "stream" => {}
            "if" if passes_on(directive) => {}
            "if" if refuses(directive) => draft.note(Kind::Exposed, place, "if", GUARD.0, GUARD.1),
            name => {
                note(directive, name, draft);
                sweep(directive.children(), used, draft);
            }
        }
    }
}

/// The answer to the condition is that the client may not.
fn refuses(condition: &Directive) -> bool {
    let statuses = ["401", "403", "444"];
    condition.children().iter().any(|one| one.name == "return" && statuses.contains(&one.arg(0)))
}

fn note(directive: &Directive, name: &str, draft: &mut Draft) {
    if TRANSLATED.contains(&name) {
        return;
    }
    let place = Some(directive.place.clone());
    let row = ROWS.iter().find(|(names, ..)| names.contains(&name));
    match row {
        Some((_, kind, reason, advice)) => draft.note(*kind, place, name, reason, advice),
        None if name.starts_with("access_by_lua") => draft.note(Kind::Exposed, place, name, GUARD.0, GUARD.1),
        None if name.contains("_by_lua") || name.starts_with("lua_") => {
            let advice = "the model in a body is read by Evenkeel itself: see `models`";
            draft.note(Kind::Left, place, name, "there are no scripts", advice);
        }
        None => draft.note(Kind::Left, place, name, "no translation of it is known", ""),
    }
}

fn server_words(server: &Directive) -> String {
    let said = |name: &str| server.children().iter().find(|one| one.name == name).map(Directive::words);
    let parts: Vec<_> = [said("listen"), said("server_name")].into_iter().flatten().collect();
    if parts.is_empty() { "server".to_owned() } else { format!("server ({})", parts.join(", ")) }
}

fn advice(location: &Directive) -> &'static str {
    let path = location.args.last().map_or("", String::as_str);
    if ["health", "ping", "ready", "live", "status", "metrics"].iter().any(|word| path.contains(word)) {
        "see `server.admin`: /livez, /readyz, /metrics and the status are there, `probes` shows the first three to others"
    } else {
        "leave it to nginx, if it is needed"
    }
}
