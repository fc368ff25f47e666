//! The target of a `proxy_pass`: an upstream or an address, with the conditions under which requests go there.

use super::parse::Directive;
use super::scope::Scope;

/// Most variables within each other.
const DEPTH_MAX: usize = 8;
/// Most targets of one `proxy_pass`: a `map` of models may be long.
const TARGETS_MAX: usize = 64;

/// The way to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    Http,
    Https,
    Grpc,
}

/// The condition of a target, from the variables in its `proxy_pass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// A field of the request has this value.
    Field {
        name: String,
        value: String,
    },
    Model(String),
    /// A part of the requests, as `5%`.
    Part(String),
    /// One that the gateway does not know, in nginx's words.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub scheme: Scheme,
    /// The name of an upstream, `host:port` or `unix:/path`.
    pub authority: String,
    /// The path behind it, empty if there is none.
    pub uri: String,
    pub when: When,
}

/// All targets of a directive that passes requests on. The error says why there is none.
pub(super) fn targets(pass: &Directive, scope: &Scope) -> Result<Vec<Target>, String> {
    let mut found = Vec::new();
    for (url, when) in values(pass.arg(0), When::Always, scope, 0)? {
        found.push(target(&url, when, pass.name == "grpc_pass")?);
        if found.len() > TARGETS_MAX {
            return Err(format!("leads to more than {TARGETS_MAX} places"));
        }
    }
    Ok(found)
}

fn target(url: &str, when: When, is_grpc: bool) -> Result<Target, String> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("grpc" | "grpcs", rest)) => (Scheme::Grpc, rest),
        Some((other, _)) => return Err(format!("has the scheme {}", super::super::note::plain(other))),
        None => (Scheme::Http, url),
    };
    let scheme = if is_grpc { Scheme::Grpc } else { scheme };
    let (authority, uri) = match rest.strip_prefix("unix:") {
        Some(socket) => {
            let (path, uri) = socket.split_once(':').unwrap_or((socket, ""));
            (format!("unix:{path}"), uri)
        }
        None => {
            let end = rest.find(['/', '$', '?']).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    if authority.is_empty() {
        return Err("names no host".to_owned());
    }
    Ok(Target { scheme, authority, uri: uri.to_owned(), when })
}

/// The values of a text, each with its condition, after the variables that decide where it leads have been replaced.
fn values(text: &str, when: When, scope: &Scope, depth: usize) -> Result<Vec<(String, When)>, String> {
    if depth > DEPTH_MAX {
        return Err("has variables that name each other in a circle".to_owned());
    }
    let host_at = text.find("://").map_or(0, |at| at + 3);
    let path_at = text.get(host_at..).and_then(|rest| rest.find('/')).map_or(text.len(), |at| host_at + at);
    let Some((before, name, after)) = variable(text) else { return Ok(vec![(text.to_owned(), when)]) };
    if before.len() >= path_at {
        return Ok(vec![(text.to_owned(), when)]);
    }
    let replaced = |value: &str| format!("{before}{value}{after}");
    match name {
        // a part of the path behind a host without `/`, as in http://upstream$request_uri
        "request_uri" | "uri" | "is_args" | "args" if before.len() > host_at => {
            return Ok(vec![(text.to_owned(), when)]);
        }
        "scheme" => return values(&replaced("http"), when, scope, depth + 1),
        _ => {}
    }
    let sets =
        |directive: &&Directive| directive.name == "set" && directive.arg(0).strip_prefix('$') == Some(name);
    if let Some(set) = scope.around().find(sets) {
        return values(&replaced(set.arg(1)), when, scope, depth + 1);
    }
    let chooses = |directive: &&Directive| {
        matches!(&*directive.name, "map" | "split_clients" | "geo")
            && directive.args.last().and_then(|arg| arg.strip_prefix('$')) == Some(name)
    };
    let Some(choice) = scope.around().find(chooses) else {
        let name = super::super::note::plain(name);
        let hint = if name.bytes().any(|b| b.is_ascii_lowercase()) {
            "which is known only while nginx runs"
        } else {
            "a placeholder: put its value there first, as envsubst does"
        };
        return Err(format!("leads to ${name}, {hint}"));
    };
    let mut found = Vec::new();
    for entry in choice.children() {
        let is_setting = matches!(&*entry.name, "hostnames" | "volatile" | "include" | "ranges");
        if is_setting || entry.arg(0).is_empty() {
            continue;
        }
        let when = match when {
            When::Always => condition(choice, entry),
            _ => When::Other(format!("{} within another", choice.name)),
        };
        found.extend(values(&replaced(entry.arg(0)), when, scope, depth + 1)?);
        if found.len() > TARGETS_MAX {
            return Err(format!("leads to more than {TARGETS_MAX} places"));
        }
    }
    Ok(found)
}

/// The first variable of a text: what is before it, its name, what is after it.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('$')?;
    if let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return Some((before, name, after));
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    (!name.is_empty()).then_some((before, name, after))
}

/// The condition of an entry of a `map`, `split_clients` or `geo`.
fn condition(choice: &Directive, entry: &Directive) -> When {
    let key = entry.name.as_str();
    let source = choice.arg(0).trim_start_matches('$').trim_matches(['{', '}']);
    if choice.name == "split_clients" {
        return if key == "*" { When::Always } else { When::Part(key.to_owned()) };
    }
    let other = || When::Other(format!("{} ${source}", choice.name));
    if key == "default" {
        return When::Always;
    }
    let is_model = matches!(
        source.trim_start_matches("http_"),
        "x_model" | "x_model_name" | "x_model_id" | "model" | "model_name"
    );
    if let Some(pattern) = key.strip_prefix('~').filter(|_| is_model) {
        let words = pattern.trim_start_matches(['*', '^']).trim_end_matches('$').trim_matches(['.', '*']);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_/:".contains(c);
        let fits = !words.is_empty() && words.chars().all(is_name);
        return if fits { When::Model(format!("*{words}*")) } else { other() };
    }
    let is_plain = !key.is_empty() && !key.starts_with(['~', '*', '.', '\\']) && !source.contains('$');
    if choice.name == "geo" || !is_plain {
        return other();
    }
    let value = key.to_owned();
    // a key of a client is no setting
    if ["auth", "key", "token", "cookie", "secret"].iter().any(|word| source.contains(word)) {
        return other();
    }
    match source.strip_prefix("http_") {
        _ if is_model => When::Model(value),
        _ if matches!(source, "host" | "http_host") => When::Field { name: "Host".to_owned(), value },
        Some(field) => When::Field { name: field_name(field), value },
        None if source.contains("model") => When::Model(value),
        None => other(),
    }
}

/// `X-Model-Name` for `x_model_name`.
pub(super) fn field_name(variable: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    variable.split('_').map(capital).collect::<Vec<_>>().join("-")
}
