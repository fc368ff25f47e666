//! `server` lines as nodes, and what they say of failures and checks, which a pool has as a whole.

use super::super::draft::{Draft, Item, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::parse::Line;
use super::proxy::Proxy;
use crate::config::NodeAddress;

/// Parameters with a word behind them that has no meaning here.
const PAIRS: &[&str] = &[
    "agent-check",
    "agent-inter",
    "agent-port",
    "agent-addr",
    "agent-send",
    "alpn",
    "npn",
    "cookie",
    "id",
    "init-addr",
    "init-state",
    "max-reuse",
    "maxqueue",
    "minconn",
    "namespace",
    "on-marked-up",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "socks4",
    "source",
    "ssl-max-ver",
    "ssl-min-ver",
    "task",
    "tcp-ut",
    "track",
    "usesrc",
    "ws",
    "curves",
    "ciphers",
    "ciphersuites",
    "crl-file",
    "sigalgs",
    "check-alpn",
    "check-sni",
    "check-proto",
    "addr",
    "port",
    "fastinter",
    "downinter",
    "inter",
    "fall",
    "rise",
    "weight",
    "maxconn",
    "slowstart",
    "on-error",
    "on-marked-down",
    "observe",
    "error-limit",
    "verify",
    "verifyhost",
    "ca-file",
    "crt",
    "sni",
    "proto",
    "log-proto",
    "hash-key",
    "set-proxy-v2-tlv-fmt",
    "interface",
    "mark",
    "tos",
    "guid",
    "shard",
];

/// Most `default-server` lines that hold for a server.
const DEFAULTS_MAX: usize = 16;

/// The settings of a backend's servers that a pool has as a whole: of each parameter all values, with their lines.
#[derive(Debug, Default)]
pub(super) struct Nodes<'a> {
    pub items: Vec<Item>,
    /// Names whose addresses are nodes.
    pub sources: Vec<Item>,
    /// The settings of those nodes, which have none of their own.
    pub of_found: Mapping,
    /// Lines of servers, each with the parameters that hold for it.
    pub servers: Vec<Server<'a>>,
}

#[derive(Debug)]
pub(super) struct Server<'a> {
    pub line: &'a Line,
    params: Vec<(&'a str, &'a str, &'a Line)>,
}

impl<'a> Server<'a> {
    fn new(line: &'a Line, skip: usize, defaults: &[&'a Line]) -> Self {
        let mut params = Vec::new();
        for (from, skip) in defaults.iter().map(|line| (*line, 1)).chain([(line, skip)]) {
            let mut words = from.words.iter().skip(skip).map(String::as_str);
            while let Some(word) = words.next() {
                let value = if PAIRS.contains(&word) { words.next().unwrap_or("") } else { "" };
                params.push((word, value, from));
            }
        }
        Self { line, params }
    }

    /// The last value of a parameter, with its line.
    pub(super) fn get(&self, name: &str) -> Option<(&'a str, Origin)> {
        let negated = format!("no-{name}");
        let found = self.params.iter().rev().find(|(word, ..)| *word == name || *word == negated)?;
        let (word, value, line) = found;
        (*word == name).then(|| (*value, line.said(format!("{word} {value}").trim())))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The servers of a backend.
pub(super) fn nodes<'a>(proxy: &Proxy<'a>, draft: &mut Draft) -> Nodes<'a> {
    let defaults = proxy.all("default-server");
    let defaults = &defaults[defaults.len().saturating_sub(DEFAULTS_MAX)..];
    let mut nodes = Nodes::default();
    for line in &proxy.section.lines {
        let done = match line.word(0) {
            "server" => {
                let server = Server::new(line, 3, defaults);
                address_of(line.word(2), server.has("ssl")).map(|address| {
                    nodes.items.push(node(&server, address, draft));
                    nodes.servers.push(server);
                })
            }
            "server-template" => {
                let server = Server::new(line, 4, defaults);
                source(&server).map(|source| {
                    nodes.sources.push(source);
                    found(&server, &mut nodes.of_found, draft);
                    nodes.servers.push(server);
                })
            }
            _ => Ok(()),
        };
        if let Err(why) = done {
            draft.note(Kind::Left, Some(line.place.clone()), &short(line), why, "");
        }
    }
    nodes
}

/// The name of a template: of SRV records if it begins as those do.
fn source(server: &Server) -> Result<Item, &'static str> {
    let (text, has_tls) = (server.line.word(3), server.has("ssl"));
    let mut source = Mapping::default();
    let from = server.line.said(&format!("server-template {text}"));
    if text.starts_with('_') {
        let name = text.split(':').next().unwrap_or(text);
        source.text("srv", if has_tls { format!("https://{name}") } else { name.to_owned() }, Some(&from));
    } else {
        source.text("dns", address_of(text, has_tls)?, Some(&from));
    }
    Ok(Item { value: source.into(), origin: None })
}

/// What a template says of its servers is the pool's.
fn found(server: &Server, pool: &mut Mapping, draft: &mut Draft) {
    let line = server.line;
    let place = || Some(line.place.clone());
    let count = format!("server-template {} {}", line.word(1), line.word(2));
    draft.note(Kind::Needless, place(), &count, "there are as many nodes as the name has addresses", "");
    if let Some((weight, from)) = server.get("weight").filter(|(weight, _)| !matches!(*weight, "0" | "1")) {
        pool.word("weight", number(weight), Some(&from));
    }
    if let Some((most, from)) = server.get("maxconn").filter(|(most, _)| *most != "0") {
        pool.word("max_in_flight", number(most), Some(&from));
    }
    tls(server, pool, draft);
    left(server, draft);
    for name in ["backup", "disabled"] {
        if server.has(name) {
            draft.note(Kind::Left, place(), name, "nodes that a name stands for are all alike", "list them");
        }
    }
}

/// The line without its parameters.
fn short(line: &Line) -> String {
    line.words.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn address_of(text: &str, has_tls: bool) -> Result<String, &'static str> {
    if text.contains(['$', '%']) || text.contains("env(") {
        return Err("the address has a placeholder; put its value there first");
    }
    let text = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let socket = text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text));
    let address = match (socket, text.rsplit_once(':')) {
        (Some(_), _) if has_tls => return Err("TLS over a unix socket is not supported"),
        (Some(path), _) => format!("unix:{path}"),
        _ if text.contains('@') => return Err("this kind of address is not supported"),
        (None, Some((_, port))) if port.parse::<u16>().is_err() => return Err("its port is not one number"),
        (None, Some((host, port))) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{port}")
        }
        (None, Some(_)) => text.to_owned(),
        (None, None) => {
            return Err("without a port HAProxy takes the one that the client has connected to; write one");
        }
    };
    let address = if has_tls { format!("https://{address}") } else { address };
    address.parse::<NodeAddress>().map(|_| address).map_err(|_| "it is not an address of a node")
}

fn node(server: &Server, address: String, draft: &mut Draft) -> Item {
    let line = server.line;
    let mut node = Mapping::default();
    node.text("address", address, Some(&line.said(&short(line))));
    if !line.word(1).is_empty() {
        node.text("name", line.word(1), None);
    }
    if let Some((weight, from)) = server.get("weight") {
        match weight {
            "0" => node.word("drain", "true", Some(&from)),
            "1" => {}
            weight => node.word("weight", number(weight), Some(&from)),
        }
    }
    if let Some((most, from)) = server.get("maxconn").filter(|(most, _)| *most != "0") {
        node.word("max_in_flight", number(most), Some(&from));
    }
    if let Some((_, from)) = server.get("disabled") {
        node.word("drain", "true", Some(&from));
    }
    if let Some((_, from)) = server.get("backup") {
        node.word("backup", "true", Some(&from));
    }
    tls(server, &mut node, draft);
    left(server, draft);
    Item { value: node.into(), origin: None }
}

fn tls(server: &Server, node: &mut Mapping, draft: &mut Draft) {
    let Some((_, ssl)) = server.get("ssl") else { return };
    let mut note = |from: &Origin, reason: &str, advice: &str| {
        draft.note(Kind::Warning, Some(from.place.clone()), &from.words, reason, advice);
    };
    let mut tls = Mapping::default();
    let mut origin = None;
    let mut take = |key: &str, value: &str, from: Origin| {
        tls.text(key, value, None);
        origin.get_or_insert(from);
    };
    match server.get("verify") {
        Some(("none", from)) => note(
            &from,
            "a node's certificate is always verified; one that the system's authorities have not signed is refused",
            "name its authority, or the certificate itself, in `tls.ca`",
        ),
        None => note(&ssl, "HAProxy's default depends on `ssl-server-verify`; Evenkeel verifies always", ""),
        Some(_) => {}
    }
    if let Some((file, from)) = server.get("ca-file").filter(|(file, _)| !file.starts_with('@')) {
        take("ca", file, from);
    }
    let sni =
        server.get("sni").and_then(|(sni, from)| Some((sni.strip_prefix("str(")?.strip_suffix(')')?, from)));
    if let Some((name, from)) = sni.or_else(|| server.get("verifyhost")) {
        take("sni", name, from);
    }
    if let Some((file, from)) = server.get("crt") {
        take("cert", file, from.clone());
        take("key", file, from);
    }
    if !tls.is_empty() {
        node.set("tls", Value::Inline(tls), origin.as_ref());
    }
}

/// Parameters of a line of its own that have no place in a node.
fn left(server: &Server, draft: &mut Draft) {
    const REASONS: [(&[&str], &str, &str); 7] = [
        (
            &["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn", "check-send-proxy"],
            "the PROXY protocol is not spoken; nodes get X-Forwarded-For",
            "",
        ),
        (
            &["agent-check"],
            "there are no agents: a node's load is what it has in flight, and what it says of itself",
            "",
        ),
        (&["track"], "each node has a check of its own", ""),
        (
            &["minconn"],
            "a node's limit does not move with the load of others",
            "`max_in_flight: auto` finds one",
        ),
        (&["maxqueue"], "there is one queue for all nodes", "see `queue.size`"),
        (
            &["source", "usesrc", "interface", "namespace", "socks4", "tos", "mark"],
            "the way out of this machine is the system's",
            "",
        ),
        (&["redir"], "Evenkeel does not redirect", ""),
    ];
    for (names, reason, advice) in REASONS {
        for name in names.iter().filter(|name| server.line.has(name)) {
            draft.note(Kind::Left, Some(server.line.place.clone()), name, reason, advice);
        }
    }
}

/// A whole number as it is; anything else in quotes, for the schema to refuse.
fn number(text: &str) -> String {
    text.parse::<u64>().map_or_else(|_| "\"none\"".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_haproxy() {
        let table = [
            ("10.0.0.1:8000", false, Ok("10.0.0.1:8000")),
            ("ipv4@gpu-1:8000", true, Ok("https://gpu-1:8000")),
            ("::1:8000", false, Ok("[::1]:8000")),
            ("[fd00::2]:8000", false, Ok("[fd00::2]:8000")),
            ("unix@/run/vllm.sock", false, Ok("unix:/run/vllm.sock")),
            ("/run/vllm.sock", false, Ok("unix:/run/vllm.sock")),
        ];
        for (text, tls, wanted) in table {
            assert_eq!(address_of(text, tls).as_deref(), wanted, "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.1:+100", "abns@x:1", "${HOST}:80", "10.0.0.1:0x", ""] {
            assert!(address_of(text, false).is_err(), "{text}");
        }
        assert!(address_of("/run/x", true).is_err());
    }
}
