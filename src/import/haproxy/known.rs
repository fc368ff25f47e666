//! The lines that have no translation, each with the reason.

use super::super::draft::Draft;
use super::super::note::Kind;
use super::choice::Planned;
use super::parse::{Line, Section};

/// The first words of some lines, the kind of note on them, the reason, and advice.
type Row = (&'static [&'static str], Kind, &'static str, &'static str);

/// Lines that have been translated, or noted where their meaning is known.
const TRANSLATED: &[&str] = &[
    "server",
    "server-template",
    "default-server",
    "bind",
    "mode",
    "balance",
    "hash-type",
    "stick on",
    "stick match",
    "cookie",
    "acl",
    "use_backend",
    "default_backend",
    "retries",
    "retry-on",
    "maxconn",
    "timeout connect",
    "timeout server",
    "timeout client",
    "timeout queue",
    "timeout tunnel",
    "timeout check",
    "timeout http-request",
    "timeout http-keep-alive",
    "option httpchk",
    "http-check send",
    "http-check expect",
    "description",
    "http-request replace-path",
    "http-request replace-uri",
];

const ROWS: &[Row] = &[
    (
        &[
            "http-request auth",
            "http-request deny",
            "http-request reject",
            "http-request tarpit",
            "http-request silent-drop",
            "tcp-request",
            "block",
        ],
        Kind::Warning,
        "who may ask, and how often, is not translated: without it the gateway lets everybody in",
        "see `server.api_keys`, whose keys have limits too, `verify_client` of `listen`, or leave it to HAProxy in front",
    ),
    (
        &[
            "stick-table",
            "stick store-request",
            "stick store-response",
            "http-request track-sc0",
            "http-request track-sc1",
            "http-request sc-inc-gpc0",
            "peers",
        ],
        Kind::Needless,
        "nothing is remembered of clients: a session's node is computed from the session, and limits are those of keys",
        "see `balance: affinity` and `server.api_keys`",
    ),
    (
        &[
            "http-request set-header",
            "http-request add-header",
            "http-request del-header",
            "http-request replace-header",
            "reqadd",
            "reqset",
            "reqdel",
        ],
        Kind::Left,
        "fields of requests are not changed, but for X-Forwarded-*, X-Request-Id and the nodes' own key",
        "a key that the nodes want goes into a file: see `authorization`",
    ),
    (
        &["http-response", "http-after-response", "rspadd", "rspset", "rspdel", "capture", "declare capture"],
        Kind::Left,
        "fields of answers are not changed",
        "",
    ),
    (
        &["http-request redirect", "redirect"],
        Kind::Left,
        "Evenkeel does not redirect",
        "leave it to HAProxy, if it is needed",
    ),
    (
        &["http-request set-path", "http-request set-uri", "http-request set-query", "reqrep", "reqirep"],
        Kind::Left,
        "Evenkeel rewrites no paths, but for `path_prefix`",
        "clients must send the path that the nodes know",
    ),
    (
        &[
            "http-request set-var",
            "http-request wait-for-body",
            "http-request set-priority-class",
            "http-request set-priority-offset",
            "http-request set-timeout",
            "http-request capture",
            "http-request use-service",
            "http-request return",
            "http-request cache-use",
            "http-request normalize-uri",
            "http-request disable-l7-retry",
        ],
        Kind::Left,
        "rules are not translated; the model in a body is read by Evenkeel itself, and classes of requests by a field",
        "see `models` and `queue.class`",
    ),
    (
        &["http-request lua", "lua-load", "lua-load-per-thread", "filter", "spoe"],
        Kind::Left,
        "there are no scripts and filters",
        "the model in a body is read by Evenkeel itself: see `models`",
    ),
    (&["compression"], Kind::Left, "answers go on as the nodes send them", ""),
    (
        &["errorfile", "errorfiles", "errorloc", "errorloc302", "errorloc303", "http-error"],
        Kind::Left,
        "Evenkeel's own errors have the form of the API that was asked",
        "",
    ),
    (
        &[
            "monitor-uri",
            "monitor",
            "stats",
            "http-request use-service prometheus-exporter",
            "option httpchk-reply",
        ],
        Kind::Needless,
        "see `server.admin`: /livez, /readyz, /metrics, a page and the status are there",
        "",
    ),
    (
        &[
            "log",
            "log-format",
            "log-format-sd",
            "log-tag",
            "option httplog",
            "option tcplog",
            "option dontlognull",
            "option dontlog-normal",
            "option logasap",
            "option log-health-checks",
            "option log-separate-errors",
            "unique-id-format",
            "unique-id-header",
            "error-log-format",
        ],
        Kind::Needless,
        "the access log has each attempt",
        "see `server.access_log`",
    ),
    (
        &["option forwardfor", "option forwarded", "option originalto"],
        Kind::Needless,
        "nodes always get X-Forwarded-For",
        "balancers in front whose field is believed go into `trusted_proxies`",
    ),
    (&["option redispatch"], Kind::Needless, "a request that failed goes to another node first", ""),
    (
        &["option abortonclose"],
        Kind::Needless,
        "a request whose client has left is given up, in line and on its node",
        "",
    ),
    (
        &[
            "option http-server-close",
            "option httpclose",
            "option forceclose",
            "option http-keep-alive",
            "option http-tunnel",
            "option prefer-last-server",
            "http-reuse",
            "option http-no-delay",
            "option http-buffer-request",
            "option http-use-htx",
            "option http-pretend-keepalive",
        ],
        Kind::Needless,
        "connections to nodes are kept and shared, and each piece of a stream goes on at once",
        "",
    ),
    (&["option allbackups"], Kind::Needless, "all backups are used", ""),
    (
        &[
            "timeout client-fin",
            "timeout server-fin",
            "timeout tarpit",
            "option tcpka",
            "option clitcpka",
            "option srvtcpka",
            "option tcp-smart-accept",
            "option tcp-smart-connect",
            "option splice-auto",
            "option splice-request",
            "option splice-response",
            "option contstats",
            "option socket-stats",
            "option nolinger",
            "option checkcache",
            "option accept-invalid-http-request",
            "option accept-unsafe-violations-in-http-request",
            "option accept-unsafe-violations-in-http-response",
            "option independent-streams",
            "option ignore-persist",
            "option persist",
            "option http-ignore-probes",
            "option disable-h2-upgrade",
            "option idle-close-on-response",
            "option tcp-check",
            "tcp-check",
            "http-check disable-on-404",
            "http-check connect",
            "http-check comment",
            "load-server-state-from-file",
            "backlog",
            "fullconn",
            "id",
            "guid",
            "enabled",
            "dispatch",
            "hash-balance-factor",
            "hash-preserve-affinity",
            "rate-limit",
            "grace",
            "max-keep-alive-queue",
            "force-persist",
            "ignore-persist",
            "persist",
            "external-check",
            "option external-check",
            "email-alert",
            "max-session-srv-conns",
            "declare",
            "clitcpka-cnt",
            "clitcpka-idle",
            "clitcpka-intvl",
            "srvtcpka-cnt",
            "srvtcpka-idle",
            "srvtcpka-intvl",
            "option transparent",
            "option http_proxy",
            "option srvtcpka",
        ],
        Kind::Needless,
        "it has no counterpart, and no use here",
        "",
    ),
];

/// Sections that say nothing of nodes.
const OTHERS: [(&[&str], Kind, &str, &str); 4] = [
    (
        &["resolvers"],
        Kind::Needless,
        "names of nodes are looked up again and again by the system's resolver",
        "",
    ),
    (&["peers"], Kind::Needless, "gateways agree on a session's node without telling each other", ""),
    (
        &["userlist"],
        Kind::Left,
        "users with passwords are not translated",
        "see `server.api_keys`: `evenkeel key new NAME` makes a key",
    ),
    (
        &[
            "cache",
            "program",
            "mailers",
            "ring",
            "http-errors",
            "log-forward",
            "log-profile",
            "fcgi-app",
            "crt-store",
            "traces",
            "acme",
        ],
        Kind::Left,
        "it has no counterpart here",
        "",
    ),
];

/// Notes on all that has not been translated.
pub(super) fn sweep(sections: &[Section], plan: &[Planned], draft: &mut Draft) {
    for section in sections {
        let used = |planned: &Planned| {
            let fronts = planned.fronts.iter().chain([&planned.backend]);
            fronts.map(|proxy| proxy.section).any(|used| std::ptr::eq(used, section))
        };
        match section.kind.as_str() {
            "global" => global(section, draft),
            "defaults" => section.lines.iter().for_each(|line| note(line, draft)),
            "frontend" | "backend" | "listen" if plan.iter().any(used) => {
                section.lines.iter().for_each(|line| note(line, draft))
            }
            "frontend" | "backend" | "listen" => unused(section, draft),
            kind => {
                if let Some((_, note, reason, advice)) =
                    OTHERS.iter().find(|(kinds, ..)| kinds.contains(&kind))
                {
                    draft.note(*note, Some(section.head.place.clone()), kind, reason, advice);
                }
            }
        }
    }
}

fn unused(section: &Section, draft: &mut Draft) {
    let words = format!("{} {}", section.kind, section.name);
    let place = Some(section.head.place.clone());
    if section.lines.iter().any(|line| line.is("stats") || line.has("prometheus-exporter")) {
        let reason = "see `server.admin`: /livez, /readyz, /metrics, a page and the status are there";
        draft.note(Kind::Needless, place, words.trim(), reason, "");
    } else {
        draft.note(
            Kind::Left,
            place,
            words.trim(),
            "it leads to no nodes",
            "leave it to HAProxy, if it is needed",
        );
    }
}

/// Most of it is about HAProxy's own process.
fn global(section: &Section, draft: &mut Draft) {
    let mut words: Vec<&str> = Vec::new();
    for line in section.lines.iter().filter(|line| line.word(0) != "maxconn") {
        if !words.contains(&line.word(0)) {
            words.push(line.word(0));
        }
    }
    if !words.is_empty() {
        let reason = "it is about HAProxy's own process";
        draft.note(Kind::Needless, Some(section.head.place.clone()), &words.join(", "), reason, "");
    }
}

/// The names by which a line may be known: its first three, two and one words.
fn note(line: &Line, draft: &mut Draft) {
    if line.word(0) == "no" {
        return;
    }
    // without what stands in brackets: `http-request set-var(txn.model)`
    let words: Vec<&str> = line.words.iter().map(|word| word.split('(').next().unwrap_or(word)).collect();
    let names: Vec<String> = (1..=3).rev().filter_map(|count| Some(words.get(..count)?.join(" "))).collect();
    let place = Some(line.place.clone());
    for name in &names {
        if TRANSLATED.contains(&&**name) {
            return;
        }
        if let Some((_, kind, reason, advice)) = ROWS.iter().find(|(words, ..)| words.contains(&&**name)) {
            draft.note(*kind, place, name, reason, advice);
            return;
        }
    }
    // the rest of a line may hold a secret
    let pair = matches!(line.word(0), "option" | "timeout" | "http-request" | "http-check");
    let shown = words.get(..if pair { 2 } else { 1 }).unwrap_or(&words).join(" ");
    draft.note(Kind::Left, place, &shown, "no translation of it is known", "");
}
