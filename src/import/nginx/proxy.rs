//! The settings of a pool, from the places that pass requests on to it.

use std::time::Duration;

use super::super::draft::{Draft, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::parse::Directive;
use super::plan::Planned;
use super::scope::{Scope, origin};
use super::target::Scheme;
use super::units;

/// nginx's own limit on the silence of a node.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A generation without streaming is silent longer than that.
const READ_SHORT: Duration = Duration::from_mins(5);
/// Most attempts that the config takes.
const ATTEMPTS_MAX: u64 = 16;

/// Retries and timeouts.
pub(super) fn settings(planned: &Planned, pool: &mut Mapping, draft: &mut Draft) {
    let scopes: Vec<_> = planned.scopes().cloned().collect();
    if let Some(version) =
        scopes.first().and_then(|scope| scope.one("proxy_http_version")).filter(|one| one.arg(0) == "2")
    {
        pool.word("http_version", "2", Some(&origin(version)));
    }
    retry(&scopes, pool, draft);
    timeouts(&scopes, pool, draft);
    if planned.scheme == Scheme::Https {
        tls(&scopes, pool, draft);
    }
    buffering(&scopes, draft);
    fields(&scopes, draft);
}

fn retry(scopes: &[Scope], pool: &mut Mapping, draft: &mut Draft) {
    let Some(scope) = scopes.first() else { return };
    let next = scope.one("proxy_next_upstream");
    let words = next.map(|next| next.args.as_slice()).unwrap_or_default();
    let has = |word: &str| words.iter().any(|arg| arg == word);
    pool.section("retry", |retry| {
        if let Some(next) = next {
            let on =
                if has("off") { Value::Word("off".to_owned()) } else { Value::Row(failures(next, draft)) };
            retry.set("on", on, Some(&origin(next)));
        }
        if let Some(tries) = scope.one("proxy_next_upstream_tries")
            && let Ok(count @ 1..) = tries.arg(0).parse::<u64>()
        {
            retry.word("attempts", count.min(ATTEMPTS_MAX).to_string(), Some(&origin(tries)));
        }
    });
    let other = scopes.iter().skip(1).filter_map(|scope| scope.one("proxy_next_upstream"));
    if let Some(other) = other.into_iter().find(|other| other.args != words) {
        let reason = "the places that lead to one pool differ in it, and a pool has one value";
        draft.note(
            Kind::Warning,
            Some(other.place.clone()),
            "proxy_next_upstream",
            reason,
            "the first one is taken",
        );
    }
    if !has("non_idempotent") && !has("off") {
        let place = next.map(|next| next.place.clone()).or_else(|| first_place(scopes));
        let reason = "without `non_idempotent` nginx gives no POST that it has sent to another server, so each generation on a node \
                      that fails is lost; Evenkeel repeats POSTs on the generation paths";
        draft.note(
            Kind::Warning,
            place,
            "proxy_next_upstream",
            reason,
            "`retry: { methods: off }` stops that",
        );
    }
}

/// The entries of `retry.on`, in nginx's words.
fn failures(next: &Directive, draft: &mut Draft) -> Vec<Value> {
    let mut found: Vec<&str> = Vec::new();
    for word in &next.args {
        let word = match word.as_str() {
            "non_idempotent" => continue,
            "invalid_header" => "error",
            word => word,
        };
        let status = word.strip_prefix("http_").and_then(|status| status.parse::<u16>().ok());
        if !matches!(word, "error" | "timeout") && !status.is_some_and(|status| (400..600).contains(&status))
        {
            let reason = "it is not a failure that Evenkeel repeats a request after";
            draft.note(Kind::Left, Some(next.place.clone()), word, reason, "");
        } else if !found.contains(&word) {
            found.push(word);
        }
    }
    found.into_iter().map(|word| Value::Text(word.to_owned())).collect()
}

fn first_place(scopes: &[Scope]) -> Option<super::super::note::Place> {
    let passes = scopes.iter().flat_map(Scope::around);
    passes.into_iter().find(|directive| directive.name == "proxy_pass").map(|pass| pass.place.clone())
}

fn timeouts(scopes: &[Scope], pool: &mut Mapping, draft: &mut Draft) {
    let keys = [
        ("proxy_connect_timeout", "connect"),
        ("proxy_send_timeout", "send"),
        ("proxy_read_timeout", "read"),
    ];
    pool.section("timeouts", |timeouts| {
        for (name, key) in keys {
            if let Some((time, from)) = longest(scopes, name, draft) {
                timeouts.word(key, units::word(time), Some(&from));
                if key == "read" && time < READ_SHORT {
                    let reason = "an answer that is not streamed is silent until its end, and is cut off after that time";
                    draft.note(Kind::Warning, Some(from.place), name, reason, "make it longer than the longest generation");
                }
            }
        }
    });
    if let Some(scope) = scopes.iter().find(|scope| scope.one("proxy_read_timeout").is_none()) {
        let reason = format!(
            "without `proxy_read_timeout` nginx cuts off a node that is silent for {}s, as one is that does not stream; \
             Evenkeel waits up to 24h",
            READ_TIMEOUT.as_secs()
        );
        draft.note(
            Kind::Warning,
            first_place(std::slice::from_ref(scope)),
            "",
            &reason,
            "see `timeouts.read` and `stall`",
        );
    }
}

/// The longest time that the places say.
fn longest(scopes: &[Scope], name: &str, draft: &mut Draft) -> Option<(Duration, Origin)> {
    let found = scopes.iter().filter_map(|scope| scope.one(name));
    let mut found: Vec<_> = found.filter_map(|one| Some((units::time(one.arg(0))?, origin(one)))).collect();
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    if let (Some((most, _)), Some((least, from))) = (found.first(), found.last())
        && most != least
    {
        let reason = "the places that lead to one pool differ in it, and a pool has one value";
        draft.note(Kind::Warning, Some(from.place.clone()), name, reason, "the longest is taken");
    }
    found.into_iter().next()
}

fn tls(scopes: &[Scope], pool: &mut Mapping, draft: &mut Draft) {
    let Some(scope) = scopes.first() else { return };
    pool.section("tls", |tls| {
        let mut take = |name: &str, key: &str| {
            if let Some(found) = scope.one(name)
                && !found.arg(0).contains('$')
            {
                tls.text(key, found.arg(0), Some(&origin(found)));
            }
        };
        take("proxy_ssl_trusted_certificate", "ca");
        take("proxy_ssl_name", "sni");
        take("proxy_ssl_certificate", "cert");
        take("proxy_ssl_certificate_key", "key");
    });
    if scope.word("proxy_ssl_verify") != "on" {
        let place =
            scope.one("proxy_ssl_verify").map(|found| found.place.clone()).or_else(|| first_place(scopes));
        let reason = "nginx did not verify the nodes' certificates; Evenkeel always does";
        draft.note(
            Kind::Warning,
            place,
            "proxy_ssl_verify",
            reason,
            "name the authority that has signed them as `tls.ca`",
        );
    }
}

fn buffering(scopes: &[Scope], draft: &mut Draft) {
    if let Some(scope) = scopes.iter().find(|scope| scope.word("proxy_buffering") != "off") {
        let place = scope.one("proxy_buffering").map(|found| found.place.clone());
        let place = place.or_else(|| first_place(std::slice::from_ref(scope)));
        let reason = "nginx holds back events of streams until a buffer is full, unless `proxy_buffering off` is said; Evenkeel never does";
        draft.note(Kind::Warning, place, "proxy_buffering", reason, "");
    }
    if let Some(scope) = scopes
        .iter()
        .find(|scope| scope.word("proxy_cache").is_empty().eq(&false) && scope.word("proxy_cache") != "off")
    {
        let place = scope.one("proxy_cache").map(|found| found.place.clone());
        draft.note(Kind::Warning, place, "proxy_cache", "Evenkeel keeps no answers", "");
    }
}

/// The fields that nodes get.
fn fields(scopes: &[Scope], draft: &mut Draft) {
    let mut seen = Vec::new();
    for field in scopes.iter().flat_map(|scope| scope.all("proxy_set_header")) {
        if seen.contains(&field.place) {
            continue;
        }
        seen.push(field.place.clone());
        let name = field.arg(0);
        let subject = format!("proxy_set_header {name}");
        let mut note = |kind, reason: &str, advice: &str| {
            draft.note(kind, Some(field.place.clone()), &subject, reason, advice);
        };
        match (&*name.to_ascii_lowercase(), field.arg(1)) {
            ("x-real-ip" | "x-forwarded-for" | "x-forwarded-proto" | "x-request-id", _) => {
                note(Kind::Needless, "nodes always get the field", "");
            }
            ("host", "$host" | "$http_host" | "$host:$server_port" | "$server_name") => {
                note(Kind::Needless, "nodes get the client's", "");
            }
            ("host", _) => note(
                Kind::Left,
                "nodes get the client's Host",
                "`tls.sni` is the name for their certificates",
            ),
            ("connection" | "upgrade" | "keep-alive" | "te" | "accept-encoding", _) => {
                note(
                    Kind::Needless,
                    "Evenkeel keeps connections, and passes upgrades (WebSocket) on, by itself",
                    "",
                );
            }
            (_, "$http_authorization") | ("authorization", "$auth" | "") => {
                note(Kind::Needless, "nodes get the client's fields", "");
            }
            (lower, value)
                if value.strip_prefix("$http_").is_some_and(|same| same == lower.replace('-', "_")) =>
            {
                note(Kind::Needless, "nodes get the client's fields", "");
            }
            ("authorization" | "x-api-key" | "api-key", _) => note(
                Kind::Warning,
                "nodes do not get the key that nginx gave them",
                "write it into a file that only the gateway can read, and `authorization: { file: FILE }` into the pool",
            ),
            _ => note(Kind::Left, "Evenkeel adds no fields of one's own", ""),
        }
    }
}
