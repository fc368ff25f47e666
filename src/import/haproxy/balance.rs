//! `balance`, `stick` and cookies as a policy.

use super::super::draft::{Draft, Mapping, Value};
use super::super::note::Kind;
use super::parse::Line;
use super::proxy::Proxy;

const COST: &str = "HAProxy takes turns, whatever a request costs; Evenkeel can give each to the node with the fewest in flight";
const SESSIONS: &str = "Evenkeel knows sessions by a field, by what the body says of a user, or by the beginning of the prompt, not by this";

/// Writes down the policy of a backend.
pub(super) fn balance(proxy: &Proxy, pool: &mut Mapping, draft: &mut Draft) {
    let mut sticks = proxy.all("stick on");
    sticks.extend(proxy.all("stick match"));
    if let Some(line) = sticks.first() {
        let key = line.words.iter().skip(2).map(String::as_str).find(|word| *word != "if").unwrap_or("");
        session(line, key, pool, draft);
        return;
    }
    if let Some(line) = proxy.last("cookie") {
        affinity(line, None, pool);
        let reason = "Evenkeel sets no cookies: it knows sessions by a field, by what the body says of a user, or by the beginning of the prompt";
        draft.note(Kind::Warning, Some(line.place.clone()), "cookie", reason, "see `affinity.headers`");
        return;
    }
    let Some(line) = proxy.last("balance") else {
        let place = Some(proxy.section.head.place.clone());
        let what = format!("{} {}", proxy.section.kind, proxy.section.name);
        draft.note(
            Kind::Warning,
            place,
            &what,
            &format!("has no `balance`: {COST}, as it does here"),
            "`balance: round_robin` takes turns",
        );
        return;
    };
    method(line, pool, draft);
}

fn method(line: &Line, pool: &mut Mapping, draft: &mut Draft) {
    let place = Some(line.place.clone());
    let from = line.origin();
    let mut warn =
        |reason: &str, advice: &str| draft.note(Kind::Warning, place.clone(), &from.words, reason, advice);
    let algorithm = line.word(1);
    let (name, inner) =
        algorithm.split_once('(').map_or((algorithm, ""), |(name, rest)| (name, rest.trim_end_matches(')')));
    match name {
        "leastconn" => pool.word("balance", "least_in_flight", Some(&from)),
        "roundrobin" | "static-rr" => {
            pool.word("balance", "round_robin", Some(&from));
            warn(COST, "remove `balance`");
        }
        "random" if inner == "1" => pool.word("balance", "random", Some(&from)),
        // the better of two that are drawn
        "random" => pool.word("balance", "least_in_flight", Some(&from)),
        "source" => pool.word("balance", "ip_hash", Some(&from)),
        "hdr" | "hash" => session(line, if name == "hdr" { algorithm } else { line.word(2) }, pool, draft),
        "uri" | "url_param" => {
            pool.word("balance", "affinity", Some(&from));
            warn(
                "requests of one path would all go to one node; Evenkeel looks for sessions instead",
                "see `affinity.headers`",
            );
        }
        "first" => {
            pool.word("balance", "least_in_flight", Some(&from));
            warn("HAProxy fills one server after the other; Evenkeel uses all of them", "see `backup`");
        }
        _ => {
            let reason = "it is not a method that is known here; each request goes to the node with the fewest in flight";
            draft.note(Kind::Left, place, &from.words, reason, "");
        }
    }
}

/// A policy by what a fetch names: `src`, `req.hdr(X-Session)`.
fn session(line: &Line, key: &str, pool: &mut Mapping, draft: &mut Draft) {
    let fetch = key.split(',').next().unwrap_or(key);
    let field = field_of(fetch);
    match (fetch, field) {
        ("src", _) => pool.word("balance", "ip_hash", Some(&line.origin())),
        (_, Some(field)) if field.eq_ignore_ascii_case("x-forwarded-for") => {
            pool.word("balance", "ip_hash", Some(&line.origin()));
            let advice = "name the balancers in front in `trusted_proxies`";
            draft.note(
                Kind::Warning,
                Some(line.place.clone()),
                &line.origin().words,
                "clients can write that field",
                advice,
            );
        }
        (_, Some(field)) => affinity(line, Some(field), pool),
        _ => {
            affinity(line, None, pool);
            draft.note(
                Kind::Warning,
                Some(line.place.clone()),
                &line.origin().words,
                SESSIONS,
                "see `affinity.headers`",
            );
        }
    }
}

fn affinity(line: &Line, field: Option<&str>, pool: &mut Mapping) {
    pool.word("balance", "affinity", Some(&line.origin()));
    if let Some(field) = field {
        let fields = Value::Row(vec![Value::Text(field.to_owned())]);
        pool.section("affinity", |affinity| affinity.set("headers", fields, Some(&line.origin())));
    }
}

/// The name of the field in `hdr(X-Session)` or `req.hdr(X-Session)`.
pub(super) fn field_of(fetch: &str) -> Option<&str> {
    const FETCHES: [&str; 6] = ["hdr(", "req.hdr(", "req.fhdr(", "hdr_dom(", "hdr_beg(", "hdr_end("];
    let inner = FETCHES.iter().find_map(|start| fetch.strip_prefix(start))?;
    let name = inner.split([')', ',']).next()?;
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_name.then_some(name)
}
