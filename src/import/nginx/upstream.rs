//! `upstream`: its servers as nodes, its method as a policy.

use std::time::Duration;

use super::super::draft::{Draft, Item, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::parse::Directive;
use super::scope::origin;
use super::target::{Scheme, field_name};
use super::units;
use crate::config::NodeAddress;

/// nginx's own.
const MAX_FAILS: u64 = 1;
const FAIL_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that is out longer than that is more likely forgotten than meant.
const LONG: Duration = Duration::from_mins(10);

/// The nodes of an upstream, and what its servers say of failures.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub items: Vec<Item>,
    /// Names each of whose addresses is a node.
    pub sources: Vec<Item>,
    max_fails: Vec<(u64, Origin)>,
    fail_timeout: Vec<(Duration, Origin)>,
    slow_start: Vec<(Duration, Origin)>,
    /// Some server says nothing of failures, so nginx's defaults hold there.
    silent: Option<Origin>,
}

/// The address of a node, as the config has it.
pub(super) fn address(scheme: Scheme, text: &str) -> Result<String, String> {
    if text.contains('$') {
        return Err("the address has a placeholder; put its value there first, as envsubst does".to_owned());
    }
    if let Some(path) = text.strip_prefix("unix:") {
        if scheme == Scheme::Https {
            return Err("TLS over a unix socket is not supported".to_owned());
        }
        return checked(format!("unix:{}", path.trim_end_matches(':')));
    }
    let has_port =
        text.rsplit_once(':').is_some_and(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    checked(match (scheme, has_port) {
        (Scheme::Https, _) => format!("https://{text}"),
        (Scheme::Http | Scheme::Grpc, true) => text.to_owned(),
        (Scheme::Http | Scheme::Grpc, false) => format!("{text}:80"),
    })
}

fn checked(address: String) -> Result<String, String> {
    address.parse::<NodeAddress>().map(|_| address)
}

/// The servers of an upstream.
pub(super) fn nodes(upstream: &Directive, scheme: Scheme, draft: &mut Draft) -> Nodes {
    let mut nodes = Nodes::default();
    for server in upstream.children().iter().filter(|directive| directive.name == "server") {
        match address(scheme, server.arg(0)) {
            Ok(address) if server.args.iter().any(|arg| arg == "resolve") => {
                nodes.resolve(server, scheme, address, draft);
            }
            Ok(address) => nodes.add(server, address, draft),
            Err(why) => {
                let place = Some(server.place.clone());
                draft.note(Kind::Left, place, &super::scope::origin(server).words, &why, "");
            }
        }
    }
    nodes
}

/// The one node of a `proxy_pass` that names an address.
pub(super) fn single(address: String, pass: &Directive) -> Nodes {
    let mut nodes = Nodes::default();
    nodes.items.push(Item { value: Value::Text(address), origin: Some(origin(pass)) });
    nodes
}

impl Nodes {
    fn add(&mut self, server: &Directive, address: String, draft: &mut Draft) {
        let from = origin(server);
        let mut node = Mapping::default();
        warn_of_name(&address, &from, draft);
        node.text("address", address.clone(), Some(&from));
        let mut is_silent = true;
        for parameter in server.args.iter().skip(1) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let from = Origin::new(server.place.clone(), parameter);
            let mut left = |reason: &str, advice: &str| {
                draft.note(Kind::Left, Some(server.place.clone()), parameter, reason, advice);
            };
            match name {
                "weight" if value != "1" => node.word("weight", number(value), Some(&from)),
                "max_conns" if value != "0" => node.word("max_in_flight", number(value), Some(&from)),
                "weight" | "max_conns" => {}
                "down" => node.word("drain", "true", Some(&from)),
                "drain" => node.word("drain", "true", Some(&from)),
                "backup" => node.word("backup", "true", Some(&from)),
                "max_fails" => {
                    is_silent = false;
                    self.max_fails.extend(value.parse().ok().map(|fails| (fails, from)));
                }
                "fail_timeout" => self.fail_timeout.extend(units::time(value).map(|time| (time, from))),
                "slow_start" => self.slow_start.extend(units::time(value).map(|time| (time, from))),
                "service" => left("names are not looked up again without `resolve`", "see `sources`"),
                "route" => left("Evenkeel chooses by sessions, not by routes", "see `balance: affinity`"),
                _ => left("it is not a parameter that is known here", ""),
            }
        }
        if is_silent {
            self.silent.get_or_insert(from.clone());
        }
        let value = if node.is_address() { Value::Text(address) } else { node.into() };
        let from = matches!(value, Value::Text(_)).then_some(from);
        self.items.push(Item { value, origin: from });
    }

    /// A name that is looked up again and again: each of its addresses is a server.
    fn resolve(&mut self, server: &Directive, scheme: Scheme, address: String, draft: &mut Draft) {
        let mut source = Mapping::default();
        match server.args.iter().find_map(|arg| arg.strip_prefix("service=")) {
            Some(service) => {
                let name =
                    if service.starts_with('_') { service.to_owned() } else { format!("_{service}._tcp") };
                let tls = if scheme == Scheme::Https { "https://" } else { "" };
                source.text("srv", format!("{tls}{name}.{}", server.arg(0)), None);
            }
            None => source.text("dns", address, None),
        }
        let known = |arg: &str| arg == "resolve" || arg.starts_with("service=");
        for parameter in server.args.iter().skip(1).filter(|arg| !known(arg)) {
            let reason = "nodes that a name stands for have what their pool has";
            draft.note(
                Kind::Left,
                Some(server.place.clone()),
                parameter,
                reason,
                "see `weight`, `max_in_flight` and `health` of the pool",
            );
        }
        self.sources.push(Item { value: Value::Inline(source), origin: Some(origin(server)) });
    }

    /// Writes down what the servers say of failures. The schema has it for the pool as a whole: the most patient one counts.
    pub(super) fn health(&self, pool: &mut Mapping, draft: &mut Draft) {
        let differ = "the servers of this upstream differ in it, and a pool has one value";
        for (differing, of) in [most(&self.max_fails).1, most(&self.fail_timeout).1]
            .into_iter()
            .zip(["max_fails", "fail_timeout"])
        {
            if let Some(from) = differing {
                draft.note(Kind::Warning, Some(from.place.clone()), of, differ, "the largest is taken");
            }
        }
        if let Some(from) = &self.silent {
            let reason = format!(
                "without `max_fails` nginx took a server out after {MAX_FAILS} failure, for {}s; Evenkeel does after 5 within 30s",
                FAIL_TIMEOUT.as_secs()
            );
            draft.note(
                Kind::Warning,
                Some(from.place.clone()),
                "",
                &reason,
                "see `health.max_fails` and `fail_timeout`",
            );
        }
        pool.section("health", |health| {
            if let Some((fails, from)) = most(&self.max_fails).0 {
                if *fails == 0 {
                    let reason = "a dead node is never taken out, and the policy that counts requests in flight prefers it";
                    draft.note(Kind::Warning, Some(from.place.clone()), "max_fails=0", reason, "remove `health.max_fails`, and the default of 5 holds");
                }
                health.word("max_fails", fails.to_string(), Some(from));
            }
            if let Some((time, from)) = most(&self.fail_timeout).0 {
                if *time > LONG {
                    let reason = "a node that has come back stays out that long, as in nginx, unless it passes a check";
                    draft.note(Kind::Warning, Some(from.place.clone()), &from.words, reason, "make it about as long as a node takes to restart");
                }
                health.word("fail_timeout", units::word(*time), Some(from));
            }
            if let Some((time, from)) = most(&self.slow_start).0 {
                health.word("slow_start", units::word(*time), Some(from));
            }
        });
    }
}

/// A whole number as it is; anything else in quotes, for the schema to refuse.
fn number(text: &str) -> String {
    text.parse::<u64>().map_or_else(|_| "\"none\"".to_owned(), |number| number.to_string())
}

/// The largest value, and the place of one that differs from it.
fn most<T: Ord>(values: &[(T, Origin)]) -> (Option<&(T, Origin)>, Option<&Origin>) {
    // the first of equals
    let largest = values.iter().rev().max_by(|(a, _), (b, _)| a.cmp(b));
    let differs = largest.and_then(|(most, _)| values.iter().find(|(value, _)| value != most));
    (largest, differs.map(|(_, from)| from))
}

/// A name stands for one node at a time.
pub(super) fn warn_of_name(address: &str, from: &Origin, draft: &mut Draft) {
    let Ok(address) = address.parse::<NodeAddress>() else { return };
    let is_name = |host: &str| host.parse::<std::net::IpAddr>().is_err() && host != "localhost";
    if address.host_port().is_some_and(|address| is_name(&address.host)) {
        let reason = "nginx makes a server of each address that a name has at its start; Evenkeel asks again and again, and uses one of them at a time";
        draft.note(
            Kind::Warning,
            Some(from.place.clone()),
            "",
            reason,
            "if the name stands for several nodes, list each, or write `sources: [{ dns: NAME:PORT }]`",
        );
    }
}

/// The policy of an upstream.
pub(super) fn balance(upstream: &Directive, pool: &mut Mapping, draft: &mut Draft) {
    let methods =
        ["least_conn", "ip_hash", "hash", "random", "least_time", "fair", "sticky", "sticky_cookie_insert"];
    let found = upstream.children().iter().filter(|directive| methods.contains(&&*directive.name));
    // sessions go before the method
    let Some(method) = found.min_by_key(|method| !method.name.starts_with("sticky")) else {
        let reason = "has no method, so nginx takes turns, whatever a request costs; Evenkeel gives each to the node with the fewest in flight";
        draft.note(
            Kind::Warning,
            Some(upstream.place.clone()),
            "upstream",
            reason,
            "`balance: round_robin` takes turns",
        );
        return;
    };
    let from = origin(method);
    let place = Some(method.place.clone());
    let mut warn =
        |reason: &str, advice: &str| draft.note(Kind::Warning, place.clone(), &from.words, reason, advice);
    let affinity = |pool: &mut Mapping, field: Option<String>| {
        pool.word("balance", "affinity", Some(&from));
        if let Some(field) = field {
            let fields = Value::Row(vec![Value::Text(field)]);
            pool.section("affinity", |affinity| affinity.set("headers", fields, Some(&from)));
        }
    };
    match (&*method.name, method.arg(0)) {
        ("ip_hash", _)
        | ("hash", "$remote_addr" | "$binary_remote_addr" | "$http_x_forwarded_for" | "$http_x_real_ip") => {
            pool.word("balance", "ip_hash", Some(&from));
            if method.name == "ip_hash" {
                warn(
                    "nginx takes the first three numbers of an IPv4 address, Evenkeel all of it, and goes past a node that has too much to do",
                    "",
                );
            }
        }
        ("hash", "$request_id" | "$request_id$remote_addr" | "$msec" | "$connection") => {
            pool.word("balance", "random", Some(&from));
            warn(
                "a hash of what is new with each request is a random choice, blind to load",
                "remove `balance`, and each goes to the node with the fewest in flight",
            );
        }
        ("hash", key) => match key.strip_prefix("$http_") {
            Some(field) if field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                affinity(pool, Some(field_name(field)))
            }
            _ => {
                affinity(pool, None);
                warn(
                    "Evenkeel knows sessions by a field, by what the body says of a user, or by the beginning of the prompt, not by this",
                    "see `affinity.headers`",
                );
            }
        },
        ("random", "") => pool.word("balance", "random", Some(&from)),
        ("sticky" | "sticky_cookie_insert", _) => {
            affinity(pool, None);
            warn(
                "Evenkeel sets no cookies: it knows sessions by a field, by what the body says of a user, or by the beginning of the prompt",
                "see `affinity.headers`",
            );
        }
        ("least_time", _) => {
            pool.word("balance", "least_in_flight", Some(&from));
            pool.word("weight", "auto", Some(&from));
        }
        _ => pool.word("balance", "least_in_flight", Some(&from)),
    }
}
