//! The requests that each backend gets: `use_backend`, `default_backend` and the conditions of `acl`.
//!
//! HAProxy chooses by anything of a request, Evenkeel by model, a field, or a prefix that it takes away. Whatever has no such way gets
//! a field of its own, so that the pool is there, can be tried, and waits for the names of its models.

use super::super::draft::{Draft, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::balance::field_of;
use super::parse::Line;
use super::proxy::Proxy;

/// Most pools that the config takes.
const POOLS_MAX: usize = 64;
/// The field that stands in for a choice that Evenkeel does not have.
const FIELD: &str = "X-Pool";

/// A pool to be.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub backend: Proxy<'a>,
    /// The frontends that lead here, and the `listen` itself.
    pub fronts: Vec<Proxy<'a>>,
    is_default: bool,
    ways: Vec<(Way, Origin)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Prefix(String),
    Field(String, String),
    Model(String),
}

/// A condition, as far as it is known.
#[derive(Debug, PartialEq, Eq)]
enum When {
    Path(String),
    Field(String, Vec<String>),
    Model(Vec<String>),
    Other,
}

/// All backends that have servers, with the ways that lead to them.
pub(super) fn plan<'a>(proxies: &[Proxy<'a>], draft: &mut Draft) -> Vec<Planned<'a>> {
    let mut pools: Vec<Planned> = Vec::new();
    for backend in proxies.iter().filter(|proxy| proxy.section.kind != "frontend" && proxy.has_servers()) {
        if pools.len() == POOLS_MAX {
            let what = format!("{} {}", backend.section.kind, backend.section.name);
            draft.note(
                Kind::Left,
                Some(backend.section.head.place.clone()),
                &what,
                "a config has at most 64 pools",
                "",
            );
            continue;
        }
        let name = backend.section.name.as_str();
        let is_own =
            |front: &Proxy| std::ptr::eq(front.section, backend.section) && front.section.kind == "listen";
        let leads = |front: &&Proxy| {
            is_own(front)
                || defaults_to(front, name)
                || front.section.lines.iter().any(|line| leads_to(line, name))
        };
        let fronts = proxies.iter().filter(leads).cloned().collect();
        pools.push(Planned { backend: backend.clone(), fronts, is_default: false, ways: Vec::new() });
    }
    let first = proxies.iter().find_map(|front| front.last("default_backend"));
    let default = pools.iter().position(|pool| first.is_some_and(|line| line.word(1) == pool.name()));
    let default = default.or_else(|| pools.iter().position(|pool| pool.backend.section.kind == "listen"));
    if let Some(pool) = pools.get_mut(default.unwrap_or(0)) {
        pool.is_default = true;
    }
    let mut taken = Vec::new();
    for pool in &mut pools {
        find_ways(pool, proxies, &mut taken, draft);
    }
    pools
}

fn defaults_to(front: &Proxy, name: &str) -> bool {
    front.section.kind != "backend" && front.last("default_backend").is_some_and(|line| line.word(1) == name)
}

fn leads_to(line: &Line, name: &str) -> bool {
    line.word(0) == "use_backend" && line.word(1) == name
}

fn find_ways(pool: &mut Planned, proxies: &[Proxy], taken: &mut Vec<Way>, draft: &mut Draft) {
    let name = pool.backend.section.name.clone();
    let mut first = None;
    for front in proxies {
        for line in front.section.lines.iter().filter(|line| leads_to(line, &name)) {
            first.get_or_insert(line);
            for way in ways(line, front, &pool.backend, draft) {
                if !taken.contains(&way) {
                    taken.push(way.clone());
                    pool.ways.push((way, line.origin()));
                }
            }
        }
    }
    if pool.ways.is_empty() && !pool.is_default {
        let line = first.unwrap_or(&pool.backend.section.head);
        let reason = match first {
            Some(_) => format!(
                "`{}` led to `{name}`; Evenkeel chooses by model, field, or a prefix that it takes away",
                line.origin().words
            ),
            None => format!(
                "another address led to `{name}`; Evenkeel chooses by model, field or prefix, not by port"
            ),
        };
        let advice = format!(
            "write `models: [NAME]` in place of `header` in pool {name}, with the models of its nodes"
        );
        draft.note(Kind::Warning, Some(line.place.clone()), "", &reason, &advice);
        pool.ways.push((Way::Field(FIELD.to_owned(), name), line.origin()));
    }
}

/// The ways that a `use_backend` means.
fn ways(line: &Line, front: &Proxy, backend: &Proxy, draft: &mut Draft) -> Vec<Way> {
    let conditions = conditions(line, front);
    let [only] = conditions.as_slice() else { return Vec::new() };
    match only {
        When::Path(prefix) if strips(front, backend, prefix) => vec![Way::Prefix(prefix.clone())],
        When::Field(name, values) => {
            if let [_, other, ..] = values.as_slice() {
                let reason = "a pool has one value of one field";
                draft.note(Kind::Left, Some(line.place.clone()), &format!("{name}: {other}"), reason, "");
            }
            values.iter().take(1).map(|value| Way::Field(name.clone(), value.clone())).collect()
        }
        When::Model(names) => names.iter().cloned().map(Way::Model).collect(),
        When::Path(_) | When::Other => Vec::new(),
    }
}

/// The conditions behind `if`, those of named ACLs in their place.
fn conditions(line: &Line, front: &Proxy) -> Vec<When> {
    let Some(at) = line.words.iter().position(|word| word == "if") else { return Vec::new() };
    let words: Vec<&str> = line.words.iter().skip(at + 1).map(String::as_str).collect();
    if let ["{", inner @ .., "}"] = words.as_slice() {
        return vec![when(inner)];
    }
    let mut found = Vec::new();
    for name in words.iter().filter(|word| !matches!(**word, "or" | "||")) {
        let acls = front.all(&format!("acl {name}"));
        let whens = acls.iter().map(|acl| {
            let words: Vec<&str> = acl.words.iter().skip(2).map(String::as_str).collect();
            when(&words)
        });
        let before = found.len();
        found.extend(whens);
        if found.len() == before {
            found.push(When::Other);
        }
    }
    merged(found)
}

/// Several names of models or values of one field are one condition.
fn merged(found: Vec<When>) -> Vec<When> {
    let mut merged: Vec<When> = Vec::new();
    for when in found {
        match (merged.last_mut(), when) {
            (Some(When::Model(names)), When::Model(more)) => names.extend(more),
            (Some(When::Field(name, values)), When::Field(other, more)) if *name == other => {
                values.extend(more)
            }
            (_, when) => merged.push(when),
        }
    }
    merged
}

/// A criterion with its flags and values.
fn when(words: &[&str]) -> When {
    let [criterion, rest @ ..] = words else { return When::Other };
    let mut values = Vec::new();
    let mut is_exact = true;
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-i" | "--" => {}
            "-m" => is_exact = rest.next() == Some(&"str"),
            flag if flag.starts_with('-') && flag.len() == 2 => is_exact = false,
            value => values.push(value.to_owned()),
        }
    }
    let base = criterion.split(',').next().unwrap_or(criterion);
    let is_model = criterion.to_ascii_lowercase().contains("model");
    match field_of(base) {
        _ if values.is_empty() => When::Other,
        None if *criterion == "path_beg" => {
            When::Path(values.swap_remove(0).trim_end_matches('/').to_owned())
        }
        Some(name) if is_exact && !base.starts_with("hdr_") => When::Field(capital(name), values),
        Some(name) if name.eq_ignore_ascii_case("host") && base.starts_with("hdr_") => {
            When::Field("Host".to_owned(), values)
        }
        None if is_model && is_exact => When::Model(values),
        _ => When::Other,
    }
}

fn capital(name: &str) -> String {
    if name.eq_ignore_ascii_case("host") { "Host".to_owned() } else { name.to_owned() }
}

/// The prefix is taken away on the way to the servers.
fn strips(front: &Proxy, backend: &Proxy, prefix: &str) -> bool {
    const RULES: [&str; 4] = ["replace-path", "set-path", "replace-uri", "set-uri"];
    let lines = backend.all("http-request").into_iter().chain(front.all("http-request"));
    let mut rules = lines.filter(|line| RULES.contains(&line.word(1)));
    rules.any(|line| {
        let from = line.words.iter().skip(2).take(1).map(String::as_str).collect::<String>();
        let to = if line.word(1).starts_with("replace") { line.word(3) } else { "" };
        from.contains(prefix) && !to.contains(prefix) && !prefix.is_empty()
    })
}

impl Planned<'_> {
    pub(super) fn name(&self) -> &str {
        &self.backend.section.name
    }

    /// Writes down which requests come here. `is_only`: there is no other pool.
    pub(super) fn choice(&self, pool: &mut Mapping, is_only: bool) {
        let text = |text: &str| Value::Text(text.to_owned());
        let models: Vec<_> = self.ways.iter().filter(|(way, _)| matches!(way, Way::Model(_))).collect();
        let prefix = self.ways.iter().find(|(way, _)| matches!(way, Way::Prefix(_)));
        if self.is_default && (!is_only || prefix.is_some()) {
            pool.set("models", Value::Row(vec![Value::Word("\"*\"".to_owned())]), None);
        } else if let Some((_, from)) = models.first() {
            let names = models.iter().filter_map(|(way, _)| match way {
                Way::Model(name) => Some(text(name)),
                _ => None,
            });
            pool.set("models", Value::Row(names.collect()), Some(from));
        }
        if let Some((Way::Prefix(prefix), from)) = prefix {
            pool.text("path_prefix", prefix.clone(), Some(from));
        }
        if is_only {
            return;
        }
        let field = self.ways.iter().find_map(|(way, from)| match way {
            Way::Field(name, value) => Some((name, value, from)),
            _ => None,
        });
        if let Some((name, value, from)) = field {
            let mut header = Mapping::default();
            header.set("name", text(name), None);
            header.set("value", text(value), None);
            pool.set("header", Value::Inline(header), Some(from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_are_known() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let table = [
            ("path_beg /team-a/", When::Path("/team-a".into())),
            ("path_beg -i /a", When::Path("/a".into())),
            ("hdr(host) -i api.example.org", When::Field("Host".into(), names(&["api.example.org"]))),
            ("req.hdr(X-Tier) -m str gold silver", When::Field("X-Tier".into(), names(&["gold", "silver"]))),
            ("req.body,json_query('$.model') -m str a", When::Model(names(&["a"]))),
            ("var(txn.model) -m str a b", When::Model(names(&["a", "b"]))),
            ("var(txn.model) -m reg ^a", When::Other),
            ("hdr_beg(X-Tier) g", When::Other),
            ("src 10.0.0.0/8", When::Other),
            ("path_beg", When::Other),
        ];
        for (text, wanted) in table {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(when(&words), wanted, "{text}");
        }
        assert_eq!(when(&[]), When::Other);
    }
}
