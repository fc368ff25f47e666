//! The part of a path that a `proxy_pass` takes away before the node gets it.

use super::scope::Scope;
use super::site::{Location, Pass};
use super::target::Target;

/// The change to a path on the way to the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rewritten {
    /// It stays.
    Kept,
    /// This prefix is taken away.
    Without(String),
    /// Something else, in words.
    Otherwise(String),
}

pub(super) fn rewritten(pass: &Pass, target: &Target) -> Rewritten {
    let uri = without_query(&target.uri);
    if matches!(uri, "$request_uri" | "$uri" | "$document_uri") {
        return Rewritten::Kept;
    }
    let by_rule = rule(&pass.scope);
    match (uri, pass.location, by_rule) {
        ("", _, Some((pattern, replacement))) => by_regex(pattern, replacement),
        ("", _, None) => Rewritten::Kept,
        (uri, Location::Prefix(path), None) if !uri.contains('$') => between(path, uri),
        (uri, Location::Exact(path), None) if path == uri => Rewritten::Kept,
        (uri, Location::Regex(pattern), None) if uri.contains("$1") => by_regex(pattern, uri),
        ("/", Location::Named(_), _) => Rewritten::Kept,
        (uri, location, _) => Rewritten::Otherwise(format!("{} becomes {uri}", location.path())),
    }
}

fn without_query(uri: &str) -> &str {
    let end = uri.find(['?']).unwrap_or(uri.len());
    let uri = uri.get(..end).unwrap_or(uri);
    ["$is_args$args", "$is_args", "$args"].iter().fold(uri, |uri, end| uri.strip_suffix(end).unwrap_or(uri))
}

/// The first rewriting of paths here: its pattern and replacement.
fn rule<'a>(scope: &Scope<'a>) -> Option<(&'a str, &'a str)> {
    let rule = scope.all("rewrite").into_iter().find(|rule| matches!(rule.arg(2), "break" | "last" | ""))?;
    Some((rule.arg(0), rule.arg(1)))
}

/// A path that begins with the one, and goes on with the other in its place.
fn between(from: &str, to: &str) -> Rewritten {
    let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
    match from.strip_suffix(to) {
        Some("") => Rewritten::Kept,
        Some(prefix) if to.is_empty() || to.starts_with('/') => Rewritten::Without(prefix.to_owned()),
        _ => Rewritten::Otherwise(format!("{} becomes {}", or_root(from), or_root(to))),
    }
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// `^/prefix/(.*)$` to `/$1`, and what else means the same.
fn by_regex(pattern: &str, replacement: &str) -> Rewritten {
    let replacement = without_query(replacement);
    let other = || Rewritten::Otherwise(format!("{pattern} becomes {replacement}"));
    let plain = pattern.trim_start_matches('^').trim_end_matches('$');
    let Some((before, group)) = plain.split_once('(') else { return other() };
    let Some((to, "")) = replacement.split_once("$1") else { return other() };
    let is_rest = matches!(group, ".*)" | ".*)?" | ".+)" | "/.*)" | "/.*)?" | "/.+)" | "/|$)(.*)");
    let before = before.trim_end_matches('?').replace("\\.", ".").replace("\\-", "-");
    let is_plain = !before.contains(['\\', '[', '*', '+', '|', '.', ')']) || before.bytes().all(is_path_byte);
    if is_rest && is_plain && before.starts_with('/') { between(&before, to) } else { other() }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)
}

/// A prefix that the config takes.
pub(super) fn is_prefix(prefix: &str) -> bool {
    let is_fine = |part: &str| !part.is_empty() && part != "." && part != "..";
    prefix.bytes().all(is_path_byte)
        && prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_fine))
        && prefix.len() <= 256
}

/// Of two prefixes one begins the other.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The place among those that most likely serve what no other one does; the highest first.
pub(super) fn rank(location: &Location) -> u8 {
    const GENERATION: [&str; 6] =
        ["completion", "/generate", "/api/chat", "/messages", "/responses", "/v1/chat"];
    const OTHER: [&str; 5] = ["embed", "rerank", "audio", "image", "metrics"];
    const API: [&str; 4] = ["/v1", "/v2", "/openai", "/api/"];
    let path = location.path().replace("\\/", "/");
    let has = |words: &[&str]| words.iter().any(|word| path.contains(word));
    match location {
        _ if has(&GENERATION) => 6,
        _ if has(&OTHER) => 2,
        _ if has(&API) => 5,
        location if location.is_root() => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away() {
        let without = |prefix: &str| Rewritten::Without(prefix.to_owned());
        for (from, to, expected) in [
            ("/api/", "/", without("/api")),
            ("/api", "/", without("/api")),
            ("/llm/v1/", "/v1/", without("/llm")),
            ("/v1/", "/v1/", Rewritten::Kept),
            ("/", "/", Rewritten::Kept),
            ("/", "/v1/", Rewritten::Otherwise("/ becomes /v1".to_owned())),
            ("/av1", "v1", Rewritten::Otherwise("/av1 becomes v1".to_owned())),
        ] {
            assert_eq!(between(from, to), expected, "{from} {to}");
        }
        for (pattern, to, expected) in [
            ("^/ollama/(.*)$", "/$1", without("/ollama")),
            ("^/ollama/?(.*)", "/$1", without("/ollama")),
            ("/ollama(/.*)", "$1", without("/ollama")),
            ("^/a/v1/(.*)$", "/v1/$1$is_args$args", without("/a")),
            ("^/(.*)$", "/$1", Rewritten::Kept),
            ("^/(a|b)/(.*)$", "/$2", Rewritten::Otherwise("^/(a|b)/(.*)$ becomes /$2".to_owned())),
            ("^/[a-z]+/(.*)$", "/$1", Rewritten::Otherwise("^/[a-z]+/(.*)$ becomes /$1".to_owned())),
        ] {
            assert_eq!(by_regex(pattern, to), expected, "{pattern} {to}");
        }
    }

    #[test]
    fn prefixes_of_the_config() {
        assert!(
            is_prefix("/a/b-1.2")
                && !is_prefix("/")
                && !is_prefix("/a/")
                && !is_prefix("a")
                && !is_prefix("/a/../b")
        );
        assert!(overlap("/a", "/a/b") && overlap("/a", "/a") && !overlap("/a", "/ab"));
    }
}
