//! The pools of a config, and the requests that each of them gets.
//!
//! nginx chooses by server and path, Evenkeel by model, a field, or a prefix that it takes away. Whatever has no such way gets a field
//! of its own, so that the pool is there, can be tried, and waits for the names of its models.

use super::super::draft::{Draft, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::parse::Directive;
use super::path::{self, Rewritten};
use super::scope::{Scope, origin};
use super::site::{Location, Pass, Server};
use super::target::{Scheme, Target, When, targets};

/// Most pools that the config takes.
const POOLS_MAX: usize = 64;
/// The field that stands in for a choice that Evenkeel does not have.
const FIELD: &str = "X-Pool";

/// A pool to be.
pub(super) struct Planned<'a> {
    pub name: String,
    pub scheme: Scheme,
    pub authority: String,
    pub upstream: Option<&'a Directive>,
    pub uses: Vec<Use<'a>>,
    /// It takes every request that no other pool takes.
    pub is_default: bool,
    ways: Ways,
}

/// A place that leads to a pool.
pub(super) struct Use<'a> {
    pub server: usize,
    pub pass: &'a Pass<'a>,
    when: When,
    path: Rewritten,
}

#[derive(Default)]
struct Ways {
    prefix: Option<(String, Origin)>,
    field: Option<(String, String, Origin)>,
    models: Vec<(String, Origin)>,
}

/// All pools that the servers lead to, in the order of the file.
pub(super) fn plan<'a>(
    servers: &'a [Server<'a>],
    upstreams: &[&'a Directive],
    draft: &mut Draft,
) -> Vec<Planned<'a>> {
    let mut pools: Vec<Planned> = Vec::new();
    for (server, pass) in
        servers.iter().enumerate().flat_map(|(at, server)| server.passes.iter().map(move |pass| (at, pass)))
    {
        let found = targets(pass.directive, &pass.scope).unwrap_or_else(|why| {
            draft.note(Kind::Left, Some(pass.directive.place.clone()), &pass.directive.name, &why, "");
            Vec::new()
        });
        for target in found {
            if target.scheme == Scheme::Grpc {
                let reason = "gRPC needs trailers, which Evenkeel does not pass on";
                draft.note(Kind::Left, Some(pass.directive.place.clone()), &pass.directive.name, reason, "");
                continue;
            }
            let path = path::rewritten(pass, &target);
            let is_full = pools.len() == POOLS_MAX;
            let found = pools.iter_mut().find(|pool| pool.is(&target));
            let one = Use { server, pass, when: target.when.clone(), path };
            match found {
                Some(pool) => pool.uses.push(one),
                None if is_full => {
                    let reason = "a config has at most 64 pools";
                    draft.note(
                        Kind::Left,
                        Some(pass.directive.place.clone()),
                        &pass.directive.name,
                        reason,
                        "",
                    );
                }
                None => {
                    let mut pool = Planned::new(&target, upstreams, &pools);
                    pool.uses.push(one);
                    pools.push(pool);
                }
            }
        }
    }
    if let Some(default) = default(&pools) {
        pools[default].is_default = true;
    }
    let main =
        pools.iter().find(|pool| pool.is_default).and_then(|pool| pool.uses.first()).map(|one| one.server);
    choose(&mut pools, servers, main, draft);
    pools
}

impl<'a> Planned<'a> {
    fn new(target: &Target, upstreams: &[&'a Directive], others: &[Self]) -> Self {
        let upstream = upstreams.iter().copied().find(|upstream| upstream.arg(0) == target.authority);
        let plain = name_of(&target.authority, upstream.is_some());
        let taken = |name: &str| others.iter().any(|other| other.name == name);
        let mut name = plain.clone();
        for number in 2.. {
            if !taken(&name) {
                break;
            }
            name = format!("{plain}-{number}");
        }
        let Target { scheme, authority, .. } = target.clone();
        Self { name, scheme, authority, upstream, uses: Vec::new(), is_default: false, ways: Ways::default() }
    }

    fn is(&self, target: &Target) -> bool {
        self.scheme == target.scheme && self.authority == target.authority
    }

    /// The scopes of the places that lead here.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &Scope<'a>> {
        self.uses.iter().map(|one| &one.pass.scope)
    }

    /// The line that the pool is from.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.upstream.or_else(|| self.uses.first().map(|one| one.pass.directive)).map(origin)
    }

    /// Writes down which requests come here. `is_only`: there is no other pool.
    pub(super) fn choice(&self, pool: &mut Mapping, is_only: bool) {
        let Ways { prefix, field, models } = &self.ways;
        let text = |text: &str| Value::Text(text.to_owned());
        if self.is_default && (!is_only || prefix.is_some()) {
            pool.set("models", Value::Row(vec![Value::Word("\"*\"".to_owned())]), None);
        } else if let [(_, from), ..] = models.as_slice() {
            let names = models.iter().map(|(name, _)| text(name)).collect();
            pool.set("models", Value::Row(names), Some(from));
        }
        if let Some((prefix, from)) = prefix {
            pool.text("path_prefix", prefix.clone(), Some(from));
        }
        if let Some((name, value, from)) = field {
            let mut header = Mapping::default();
            header.text("name", name.clone(), None);
            header.text("value", value.clone(), None);
            pool.set("header", Value::Inline(header), Some(from));
        }
    }
}

/// A name for the pool, out of the characters that a name may have.
fn name_of(authority: &str, is_upstream: bool) -> String {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_local = host.parse::<std::net::IpAddr>().is_ok()
        || matches!(host, "localhost" | "unix")
        || host.starts_with('[');
    let plain = if is_upstream {
        authority
    } else if is_local {
        "main"
    } else {
        host
    };
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = plain.chars().take(100).map(allowed).collect();
    if name.is_empty() { "main".to_owned() } else { name }
}

/// The pool that most likely serves what no other one does: that of the generation paths, or of all paths; the first of equals.
fn default(pools: &[Planned]) -> Option<usize> {
    let rank = |one: &Use| match (&one.when, &one.path, one.pass.location) {
        (_, Rewritten::Without(_), _) => 0,
        (When::Always, _, Location::Named(_)) => 1,
        (When::Always, _, location) if one.pass.condition.is_none() => path::rank(&location),
        _ => 1,
    };
    let mut best = None;
    for (place, pool) in pools.iter().enumerate() {
        let rank = pool.uses.iter().map(rank).max().unwrap_or_default();
        if rank > best.map_or(0, |(best, _)| best) {
            best = Some((rank, place));
        }
    }
    best.map(|(_, place)| place)
}

/// Finds a way to each pool. `main`: the server of the default pool.
fn choose(pools: &mut [Planned], servers: &[Server], main: Option<usize>, draft: &mut Draft) {
    let mut prefixes: Vec<String> = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for pool in pools {
        let Planned { name, uses, is_default, ways, .. } = pool;
        for one in uses.iter() {
            let from = origin(one.pass.directive);
            let mut note = |kind, subject: &str, reason: &str, advice: &str| {
                draft.note(kind, Some(from.place.clone()), subject, reason, advice);
            };
            if let Rewritten::Without(prefix) = &one.path {
                let is_free = ways.prefix.is_none()
                    && path::is_prefix(prefix)
                    && !prefixes.iter().any(|other| path::overlap(other, prefix));
                if is_free {
                    prefixes.push(prefix.clone());
                    ways.prefix = Some((prefix.clone(), from.clone()));
                } else if ways.prefix.as_ref().is_none_or(|(own, _)| own != prefix) {
                    note(
                        Kind::Left,
                        prefix,
                        "a pool has one path_prefix, and of two pools' none may begin the other's",
                        "",
                    );
                }
            } else if let Rewritten::Otherwise(how) = &one.path {
                let reason = format!("Evenkeel rewrites no paths: {how}");
                note(
                    Kind::Warning,
                    &one.pass.directive.name,
                    &reason,
                    "clients must send the path that the nodes know",
                );
            }
            if *is_default || ways.prefix.is_some() {
                continue;
            }
            match (&one.when, host_of(&servers[one.server])) {
                (When::Model(model), _) => {
                    let reason = "Evenkeel reads the model from a request's body, whatever field or variable nginx had for it";
                    note(
                        Kind::Warning,
                        "",
                        reason,
                        "names and patterns in `models` are those that clients send",
                    );
                    if !ways.models.iter().any(|(other, _)| other == model) {
                        ways.models.push((model.clone(), from));
                    }
                }
                (When::Field { name, value }, _) => ways.take_field((name, value), from, &mut fields),
                (When::Always, Some(host)) if main != Some(one.server) => {
                    let reason = "Evenkeel compares the field Host, which requests of HTTP/2 do not have: those go to the pool of all others";
                    note(
                        Kind::Warning,
                        "server_name",
                        reason,
                        "choose by `models` or `path_prefix`, or run a gateway for each name",
                    );
                    ways.take_field((&"Host".to_owned(), &host), from, &mut fields);
                }
                _ => {}
            }
        }
        if !*is_default && ways.is_none() {
            stand_in(name, uses, ways, main, draft);
        }
    }
}

impl Ways {
    fn is_none(&self) -> bool {
        self.prefix.is_none() && self.field.is_none() && self.models.is_empty()
    }

    fn take_field(
        &mut self,
        (name, value): (&String, &String),
        from: Origin,
        taken: &mut Vec<(String, String)>,
    ) {
        let new = (name.clone(), value.clone());
        if self.field.is_none() && !taken.contains(&new) {
            taken.push(new.clone());
            self.field = Some((new.0, new.1, from));
        }
    }
}

/// The first name of a server that a client's field `Host` can be compared with.
fn host_of(server: &Server) -> Option<String> {
    let names = server.scope.one("server_name")?;
    let is_name = |name: &&String| {
        name.len() > 1
            && !name.starts_with(['~', '*', '.', '$'])
            && !name.contains('*')
            && *name != "localhost"
    };
    names.args.iter().find(is_name).cloned()
}

/// A field of its own for a pool that nothing else leads to.
fn stand_in(name: &str, uses: &[Use], ways: &mut Ways, main: Option<usize>, draft: &mut Draft) {
    let Some(first) = uses.first() else { return };
    let from = origin(first.pass.directive);
    let models =
        format!("write `models: [NAME]` in place of `header` in pool {name}, with the models of its nodes");
    let (reason, advice) = match &first.when {
        When::Part(part) => (
            format!("{part} of the requests went to `{name}`; Evenkeel shares out the requests of a model"),
            format!(
                "write `splits: {{ MODEL: {{ ... }} }}` with the pools and their percent; until then the field {FIELD} leads there"
            ),
        ),
        When::Other(words) => {
            (format!("`{words}` led to `{name}`; Evenkeel does not choose by that"), models)
        }
        _ if main.is_some_and(|main| main != first.server) => (
            format!(
                "another `server` led to `{name}`; Evenkeel chooses by model, field or prefix, not by port"
            ),
            format!("{models}, or import each server into a file of its own"),
        ),
        _ => (
            format!(
                "{} led to `{name}` with its path unchanged; Evenkeel chooses by model, field, or a prefix that it takes away",
                first.pass.location.path()
            ),
            models,
        ),
    };
    draft.note(Kind::Warning, Some(from.place.clone()), "", &reason, &advice);
    ways.field = Some((FIELD.to_owned(), name.to_owned(), from));
}
