//! The `server` section: addresses, certificates, limits on clients, the access log.

use std::net::SocketAddr;

use super::super::draft::{Draft, Item, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::parse::Directive;
use super::scope::{Scope, origin};
use super::site::Server;
use super::units;
use crate::config::units::show_size;

/// The address of a fragment that has none.
const LISTEN: &str = "0.0.0.0:9999";
/// The port of the admin address, and the one that it moves to.
const ADMIN_PORTS: (u16, &str) = (9990, "127.0.0.1:9991");
const LOGS: (&str, &str) = ("/var/log/nginx/", "/var/log/evenkeel/");
/// Most addresses that the config takes.
const LISTENERS_MAX: usize = 64;
/// The largest body and header that the config takes.
const BODY_MAX: u64 = 1 << 40;
const HEADER: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 20;

/// One address that clients connect to.
struct Listen<'a> {
    address: SocketAddr,
    has_tls: bool,
    from: Origin,
    /// The servers that have it.
    scopes: Vec<&'a Scope<'a>>,
}

/// Writes down what the servers that lead to nodes say of their clients.
pub(super) fn front(servers: &[&Server], section: &mut Mapping, draft: &mut Draft) {
    let listens = listens(servers, draft);
    let is_taken = listens.iter().any(|listen| listen.address.port() == ADMIN_PORTS.0);
    let items: Vec<_> = listens.iter().map(|listen| listen.item(draft)).collect();
    match items.as_slice() {
        [] => {
            section.text("listen", LISTEN, None);
            draft.note(
                Kind::Warning,
                None,
                "listen",
                "no address was found that Evenkeel can listen on",
                "9999 is a guess",
            );
        }
        [Item { value: Value::Text(address), origin }] => section.text("listen", address, origin.as_ref()),
        _ => section.set("listen", Value::List(items), None),
    }
    if is_taken {
        let from = listens.iter().find(|listen| listen.address.port() == ADMIN_PORTS.0);
        section.text("admin", ADMIN_PORTS.1, from.map(|listen| &listen.from));
    }
    let scopes: Vec<&Scope> = servers.iter().map(|server| &server.scope).collect();
    access_log(&scopes, section, draft);
    section.section("client", |client| limits(servers, client));
    trusted(&scopes, section, draft);
}

fn listens<'a>(servers: &[&'a Server<'a>], draft: &mut Draft) -> Vec<Listen<'a>> {
    let mut found: Vec<Listen> = Vec::new();
    for server in servers {
        let own = server.scope.all("listen");
        let own: Vec<_> = own.into_iter().filter(|listen| is_of(listen, server)).collect();
        if own.is_empty() && !server.directive.name.is_empty() {
            let from = origin(server.directive);
            add(&mut found, "80", false, from, &server.scope);
        }
        for listen in own {
            let from = origin(listen);
            let has = |word: &str| listen.args.iter().any(|arg| arg == word);
            let mut left = |reason: &str, advice: &str| {
                draft.note(Kind::Left, Some(listen.place.clone()), &from.words, reason, advice);
            };
            if has("quic") {
                left("HTTP/3 is not spoken", "");
                continue;
            }
            if has("proxy_protocol") {
                left(
                    "the PROXY protocol is not read, and requests that come with it get 400",
                    "let the balancer in front send X-Forwarded-For, and name it in `trusted_proxies`",
                );
            }
            let has_tls = has("ssl") || server.scope.word("ssl") == "on";
            if !add(&mut found, listen.arg(0), has_tls, from.clone(), &server.scope) {
                left("it is not an IP address and a port", "write one under `server.listen`");
            }
        }
    }
    without_overlaps(found)
}

/// The directive is the server's own.
fn is_of(listen: &Directive, server: &Server) -> bool {
    server.directive.children().iter().any(|own| std::ptr::eq(own, listen))
}

/// `0.0.0.0` takes its port on every address.
fn without_overlaps(mut listens: Vec<Listen>) -> Vec<Listen> {
    let any: Vec<_> =
        listens.iter().map(|listen| listen.address).filter(|address| address.ip().is_unspecified()).collect();
    listens.retain(|listen| {
        let covers = |any: &&SocketAddr| {
            any.port() == listen.address.port()
                && any.is_ipv4() == listen.address.is_ipv4()
                && **any != listen.address
        };
        !any.iter().any(|any| covers(&any))
    });
    listens
}

fn add<'a>(
    found: &mut Vec<Listen<'a>>,
    text: &str,
    has_tls: bool,
    from: Origin,
    scope: &'a Scope<'a>,
) -> bool {
    let Some(address) = address(text).filter(|_| found.len() < LISTENERS_MAX) else { return false };
    match found.iter_mut().find(|listen| listen.address == address) {
        Some(listen) => {
            listen.has_tls |= has_tls;
            listen.scopes.push(scope);
        }
        None => found.push(Listen { address, has_tls, from, scopes: vec![scope] }),
    }
    true
}

/// `80`, `*:80`, `1.2.3.4`, `1.2.3.4:80`, `[::]:80`, `localhost:80`.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some(SocketAddr::from(([0, 0, 0, 0], port))).filter(|_| port > 0);
    }
    let text = text.replace("*:", "0.0.0.0:").replace("localhost", "127.0.0.1");
    let with_port = || format!("{text}:80").parse();
    text.parse().or_else(|_| with_port()).ok().filter(|address: &SocketAddr| address.port() > 0)
}

impl Listen<'_> {
    fn item(&self, draft: &mut Draft) -> Item {
        let from = Some(self.from.clone());
        let address = self.address.to_string();
        if !self.has_tls {
            return Item { value: Value::Text(address), origin: from };
        }
        let mut tls = Mapping::default();
        let mut pairs: Vec<(&Directive, &Directive)> = Vec::new();
        for scope in &self.scopes {
            let (certs, keys) = (scope.all("ssl_certificate"), scope.all("ssl_certificate_key"));
            for pair in certs.into_iter().zip(keys) {
                if !pairs.iter().any(|(cert, _)| cert.args == pair.0.args) {
                    pairs.push(pair);
                }
            }
        }
        let is_plain = |text: &str| !text.is_empty() && !text.contains(['$', ':']);
        pairs.retain(|(cert, key)| is_plain(cert.arg(0)) && is_plain(key.arg(0)));
        let Some(((cert, key), further)) = pairs.split_first() else {
            let reason = "no certificate in files was found for this address, so it is without TLS here";
            draft.note(
                Kind::Warning,
                Some(self.from.place.clone()),
                &self.from.words,
                reason,
                "write `tls: { cert: ..., key: ... }`, or `tls: { auto: ... }`",
            );
            return Item { value: Value::Text(address), origin: from };
        };
        tls.text("cert", cert.arg(0), Some(&origin(cert)));
        tls.text("key", key.arg(0), Some(&origin(key)));
        if !further.is_empty() {
            let further = further.iter().map(|(cert, key)| {
                let mut pair = Mapping::default();
                pair.text("cert", cert.arg(0), None);
                pair.text("key", key.arg(0), None);
                Item { value: Value::Inline(pair), origin: Some(origin(cert)) }
            });
            tls.set("certificates", Value::List(further.collect()), None);
        }
        self.versions(&mut tls, draft);
        let mut item = Mapping::default();
        item.text("address", address, Some(&self.from));
        item.set("tls", tls.into(), None);
        Item { value: item.into(), origin: None }
    }

    fn versions(&self, tls: &mut Mapping, draft: &mut Draft) {
        let Some(scope) = self.scopes.first() else { return };
        if let Some(versions) = scope.one("ssl_protocols") {
            let has = |version: &str| versions.args.iter().any(|arg| arg == version);
            if has("TLSv1") || has("TLSv1.1") || has("SSLv3") {
                draft.note(
                    Kind::Left,
                    Some(versions.place.clone()),
                    "ssl_protocols",
                    "TLS before 1.2 is not spoken",
                    "",
                );
            }
            if has("TLSv1.3") && !has("TLSv1.2") {
                tls.text("min_version", "1.3", Some(&origin(versions)));
            }
        }
        let verify = scope.one("ssl_verify_client");
        let ca = scope.one("ssl_client_certificate").or_else(|| scope.one("ssl_trusted_certificate"));
        if let (Some(verify), Some(ca)) = (verify, ca)
            && matches!(verify.arg(0), "on" | "optional")
        {
            tls.word("verify_client", verify.arg(0), Some(&origin(verify)));
            tls.text("client_ca", ca.arg(0), Some(&origin(ca)));
        }
    }
}

fn access_log(scopes: &[&Scope], section: &mut Mapping, draft: &mut Draft) {
    let Some(scope) = scopes.first() else { return };
    let Some(log) = scope.one("access_log") else { return };
    let from = origin(log);
    section.section("access_log", |section| match log.arg(0) {
        "off" => section.word("format", "off", Some(&from)),
        path if path.starts_with("syslog:") || path.contains('$') => {
            draft.note(
                Kind::Left,
                Some(log.place.clone()),
                "access_log",
                "Evenkeel writes to one file, or to standard output",
                "",
            );
        }
        "/dev/stdout" | "/proc/self/fd/1" => section.text("path", "-", Some(&from)),
        path => {
            let path = path.strip_prefix(LOGS.0).map_or(path.to_owned(), |name| LOGS.1.to_owned() + name);
            section.text("path", path, Some(&from));
        }
    });
    let format = scope.all("log_format").into_iter().find(|format| format.arg(0) == log.arg(1));
    if let Some(format) = format {
        let is_json = format.args.iter().any(|arg| arg == "escape=json" || arg.trim_start().starts_with('{'));
        if is_json {
            section.section("access_log", |section| {
                section.word("format", "json", Some(&Origin::new(format.place.clone(), "log_format")))
            });
        }
        let reason =
            "the formats are nginx's `main` with the attempts behind it, and JSON, each with its own fields";
        draft.note(
            Kind::Left,
            Some(format.place.clone()),
            "log_format",
            reason,
            "deploy/README.md lists them",
        );
    }
}

fn limits(servers: &[&Server], client: &mut Mapping) {
    let largest = |name: &str, value: &dyn Fn(&Directive) -> Option<u64>| {
        let scopes = servers
            .iter()
            .flat_map(|server| server.passes.iter().map(|pass| &pass.scope).chain([&server.scope]));
        let found =
            scopes.filter_map(|scope| scope.one(name)).filter_map(|one| Some((value(one)?, origin(one))));
        found.max_by_key(|(value, _)| *value)
    };
    let body = |one: &Directive| {
        units::size(one.arg(0)).map(|size| if size == 0 { BODY_MAX } else { size.min(BODY_MAX) })
    };
    if let Some((size, from)) = largest("client_max_body_size", &body) {
        client.word("max_body", show_size(size), Some(&from));
    }
    let buffers = |one: &Directive| units::size(one.arg(1))?.checked_mul(one.arg(0).parse().ok()?);
    if let Some((size, from)) = largest("large_client_header_buffers", &buffers) {
        client.word("max_header", show_size(size.clamp(*HEADER.start(), *HEADER.end())), Some(&from));
    }
    let millis =
        |one: &Directive| units::time(one.arg(0)).and_then(|time| u64::try_from(time.as_millis()).ok());
    for (name, key) in [
        ("client_header_timeout", "header_timeout"),
        ("client_body_timeout", "body_timeout"),
        ("send_timeout", "send_timeout"),
        ("keepalive_timeout", "keepalive"),
    ] {
        if let Some((time, from)) = largest(name, &millis) {
            let off = key == "keepalive" && time == 0;
            let word =
                if off { "off".to_owned() } else { units::word(std::time::Duration::from_millis(time)) };
            client.word(key, word, Some(&from));
        }
    }
}

fn trusted(scopes: &[&Scope], section: &mut Mapping, draft: &mut Draft) {
    let Some(scope) = scopes.first() else { return };
    let networks = scope.all("set_real_ip_from");
    let plain = networks.iter().filter(|network| {
        let text = network.arg(0);
        text.parse::<std::net::IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok()
    });
    let items: Vec<_> = plain
        .map(|network| Item { value: Value::Text(network.arg(0).to_owned()), origin: Some(origin(network)) })
        .collect();
    if items.is_empty() {
        return;
    }
    section.set("trusted_proxies", Value::List(items), None);
    let field = scope.word("real_ip_header");
    if !field.eq_ignore_ascii_case("X-Forwarded-For") {
        let place = scope.one("real_ip_header").map(|field| field.place.clone());
        draft.note(
            Kind::Warning,
            place,
            "real_ip_header",
            "Evenkeel reads the client's address from X-Forwarded-For alone",
            "let the proxy in front send that",
        );
    }
}
