//! The schema of `pools`: one line per key, with its default and its parser.

use std::collections::BTreeSet;
use std::time::Duration;

use super::affinity::affinity;
use super::choice;
use super::model::{
    Balance, Check, ChosenBy, Engine, Health, HttpVersion, Listener, NodeDefaults, Pool, Retry, RetryOn,
    Timeouts, Weight,
};
use super::models::Served;
use super::nodes::{Usual, nodes};
use super::outside::Outside;
use super::problems::Collector;
use super::queue::{deadline, queue};
use super::raw::{Raw, Value};
use super::reach::Loader;
use super::section::{Place, Section};
use super::sources::sources;
use super::units::{show_duration, show_size};
use super::values::{
    check_name, choice, count, duration, duration_or_zero, integer, is_off, or_word, shown, size, switch,
    text,
};

const POOLS_MAX: usize = 64;
const FAILURES_MAX: u32 = 1_000_000;

const ENGINE: [(&str, Engine); 4] = [
    ("generic", Engine::Generic),
    ("vllm", Engine::Vllm),
    ("sglang", Engine::Sglang),
    ("llamacpp", Engine::Llamacpp),
];
const BALANCE: [(&str, Balance); 6] = [
    ("least_in_flight", Balance::LeastInFlight),
    ("least_work", Balance::LeastWork),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
    ("affinity", Balance::Affinity),
    ("ip_hash", Balance::IpHash),
];
const HTTP_VERSION: [(&str, HttpVersion); 2] = [("1.1", HttpVersion::H1), ("2", HttpVersion::H2)];

/// The status codes in the default of `retry.on`.
const RETRY_STATUSES: [u16; 6] = [500, 502, 503, 504, 429, 529];
/// The most entries of `retry.on`: two words, and every status code that tells of an error.
const RETRY_ON_MAX: usize = 202;

const METHODS: [(&str, &str); 7] = [
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
    ("OPTIONS", "OPTIONS"),
];

#[derive(Clone, Copy)]
enum RetryWhen {
    Error,
    Timeout,
    Status(u16),
}

pub(super) fn pools(place: &Place, listen: &[Listener], outside: &Outside) -> Vec<Pool> {
    let Some(named) = place.section().map(Section::named) else {
        return vec![];
    };
    if let Err(message) = count(named.len(), &(1..=POOLS_MAX), "pools") {
        place.problem(message);
    }
    let mut served = Served::default();
    let loader = Loader::new(*outside);
    let (mut pools, mut places) = (Vec::new(), Vec::new());
    for (name, place) in named.into_iter().take(POOLS_MAX) {
        if let Err(message) = check_name(&name) {
            place.problem(message);
        }
        if let Some(section) = place.section() {
            pools.push(section.finish(|s| pool(s, name, (listen, &loader), &mut served)));
            places.push(place);
        }
    }
    choice::check(&pools, &places);
    pools
}

fn pool(
    s: &mut Section,
    name: String,
    (listen, loader): (&[Listener], &Loader),
    served: &mut Served,
) -> Pool {
    let engine = s.get("engine", Engine::Generic, choice(&ENGINE));
    let http_version = s.get("http_version", HttpVersion::H1, choice(&HTTP_VERSION));
    let retry = s.section("retry", |s| retry(s, engine));
    let queue = s.section("queue", |s| queue(s, engine));
    let balance = s.get("balance", Balance::LeastInFlight, choice(&BALANCE));
    let usual = Usual::of(s, http_version, loader);
    let sources = sources(s);
    let nodes = nodes(s, listen, &usual, sources.is_none());
    let learns = usual.learns() && sources.is_some() || nodes.iter().any(|node| node.weight == Weight::Auto);
    let follows_weights = matches!(balance, Balance::LeastInFlight | Balance::LeastWork);
    s.rule("balance", &["weight", "nodes"], !learns || follows_weights, || {
        "`weight: auto` needs `balance: least_in_flight` or `least_work`".to_owned()
    });
    let chosen_by = choice::chosen_by(s);
    Pool {
        models: served.models(s, &name, chosen_by == ChosenBy::default()),
        chosen_by,
        spill: choice::spill(s),
        engine,
        balance,
        affinity: s.section("affinity", affinity),
        nodes,
        defaults: sources.as_ref().map_or_else(NodeDefaults::default, |_| usual.defaults(listen)),
        sources: sources.unwrap_or_default(),
        http_version,
        health: s.section("health", |s| health(s, engine)),
        queue,
        deadline: s.section("deadline", deadline),
        retry,
        timeouts: s.section("timeouts", timeouts),
        name,
    }
}

pub(super) fn health(s: &mut Section, engine: Engine) -> Health {
    let fail_timeout = s.get("fail_timeout", Duration::from_secs(30), duration);
    let max_eject = s.get("max_eject", fail_timeout.max(Duration::from_mins(10)), duration);
    s.rule("max_eject", &["fail_timeout"], max_eject >= fail_timeout, || {
        format!(
            "is shorter than fail_timeout ({}), the length of the first ejection",
            show_duration(fail_timeout)
        )
    });
    Health {
        max_fails: s.get("max_fails", 5, integer(0..=FAILURES_MAX)),
        fail_timeout,
        max_eject,
        probe_pass: s.get("probe_pass", Duration::from_secs(5), duration),
        slow_start: s.get("slow_start", Duration::from_secs(10), duration_or_zero),
        check: check(s, engine),
    }
}

/// The path at which the engine answers 200 when it is healthy. SGLang's `/health_generate` is unsuitable: it
/// says 503 during a long prefill.
fn preset_path(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Generic => None,
        Engine::Vllm | Engine::Sglang | Engine::Llamacpp => Some("/health"),
    }
}

/// The configured check, or else the engine's preset.
fn check(s: &mut Section, engine: Engine) -> Option<Check> {
    let preset = preset_path(engine);
    let Some(place) = s.take("check") else {
        return preset
            .map(|path| Section::empty("", 0, &Collector::default()).finish(|s| check_of(s, Some(path))));
    };
    let section = if is_off(place.raw) { None } else { place.section() };
    section.map(|section| section.finish(|s| check_of(s, preset)))
}

fn check_of(s: &mut Section, preset: Option<&str>) -> Check {
    let path = match preset {
        Some(preset) => s.get("path", preset.to_owned(), check_path),
        None => s
            .required("path", "write the path to request, such as `path: /health`")
            .and_then(|p| p.read(check_path))
            .unwrap_or_default(),
    };
    Check {
        path,
        interval: s.get("interval", Duration::from_secs(5), duration),
        timeout: s.get("timeout", Duration::from_secs(2), duration),
        rise: s.get("rise", 1, integer(1..=1000)),
        fall: s.get("fall", 3, integer(1..=1000)),
    }
}

fn check_path(raw: &Raw) -> Result<String, String> {
    const BYTES_MAX: usize = 1024;
    let path = text(raw)?;
    if path.starts_with('/') && path.len() <= BYTES_MAX && path.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(path)
    } else {
        Err(format!(
            "{} is not a path; use one that begins with `/` and has no spaces, such as /health",
            shown(raw)
        ))
    }
}

pub(super) fn retry(s: &mut Section, engine: Engine) -> Retry {
    let body_limit = s.get("body_limit", 32 << 20, size(0..=1 << 40));
    let body_total = s.get("body_total", 1 << 30, size(0..=1 << 40));
    s.rule("body_limit", &["body_total"], body_limit <= body_total, || {
        format!("is larger than body_total ({}), which all kept bodies share", show_size(body_total))
    });
    let default_on = || {
        let statuses = RETRY_STATUSES.into_iter().map(RetryWhen::Status);
        [RetryWhen::Error, RetryWhen::Timeout].into_iter().chain(statuses).collect()
    };
    let resume = s.get("resume", false, switch);
    if resume && engine == Engine::Generic {
        s.notice("resume", NOT_RESUMED);
    }
    let methods = s.list("methods", 0..=METHODS.len(), choice(&METHODS)).unwrap_or_else(|| vec!["POST"]);
    Retry {
        on: retry_on(s.list("on", 0..=RETRY_ON_MAX, retry_when).unwrap_or_else(default_on)),
        attempts: s.get("attempts", 3, integer(1..=16)),
        wait: s.get("wait", Duration::from_secs(60), duration_or_zero),
        body_limit,
        body_total,
        methods: methods.into_iter().map(str::to_owned).collect(),
        paths: s.list("paths", 0..=PATHS_MAX, path_ending).unwrap_or_default(),
        resume,
        resume_max: s.get("resume_max", 1, integer(1..=16)),
        resume_text_max: s.get("resume_text_max", 1 << 20, size(1 << 10..=64 << 20)),
    }
}

const NOT_RESUMED: &str = "with `engine: generic` a broken stream is resumed only if it is a completion with max_tokens, from \
     its text; chats are not: name the engine (vllm, sglang, llamacpp) if it is one";

/// Most entries of `retry.paths`.
const PATHS_MAX: usize = 64;

fn path_ending(raw: &Raw) -> Result<String, String> {
    let path = check_path(raw)?;
    let ending = path.trim_end_matches('/');
    if ending.is_empty() {
        return Err(format!("{} is the ending of every path; the root of TGI and TEI is known", shown(raw)));
    }
    if ending.contains(['?', '#', '*']) {
        return Err(format!("{} is no ending of a path: there are no patterns or queries in it", shown(raw)));
    }
    Ok(ending.to_owned())
}

/// An entry of `retry.on`, in the words of nginx's `proxy_next_upstream`.
fn retry_when(raw: &Raw) -> Result<RetryWhen, String> {
    let word = if raw.value == Value::Bool(false) { "off".to_owned() } else { text(raw)? };
    let status = || word.strip_prefix("http_")?.parse().ok().filter(|status| (400..600).contains(status));
    match word.as_str() {
        "error" => Ok(RetryWhen::Error),
        "timeout" => Ok(RetryWhen::Timeout),
        _ => status().map(RetryWhen::Status).ok_or_else(|| {
            format!(
                "{} is not error, timeout, or http_ and a status from 400 to 599, such as http_503",
                shown(raw)
            )
        }),
    }
}

fn retry_on(listed: Vec<RetryWhen>) -> RetryOn {
    let mut on = RetryOn { error: false, timeout: false, statuses: BTreeSet::new() };
    for when in listed {
        match when {
            RetryWhen::Error => on.error = true,
            RetryWhen::Timeout => on.timeout = true,
            RetryWhen::Status(code) => _ = on.statuses.insert(code),
        }
    }
    on
}

pub(super) fn timeouts(s: &mut Section) -> Timeouts {
    Timeouts {
        connect: s.get("connect", Duration::from_secs(5), duration),
        send: s.get("send", Duration::from_secs(60), duration),
        first_byte: s.get("first_byte", None, or_word("off", duration)),
        first_event: s.get("first_event", Duration::from_secs(1), duration_or_zero),
        read: s.get("read", Duration::from_hours(24), duration),
        tunnel: s.get("tunnel", Duration::from_hours(1), duration),
        idle: s.get("idle", Duration::from_secs(4), duration),
        stall: s.get("stall", None, or_word("off", duration)),
    }
}
