//! The schema of `server`: one line per key, with its default and its parser.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::auto;
use super::edge::{Admin, AdminToken, Role};
use super::model::{AccessLog, ApiKeys, Client, Listener, LogFormat, LogTarget, Metrics, Server};
use super::raw::{Raw, Value};
use super::section::{Place, Section};
use super::tls::tls;
use super::tracing;
use super::values::{
    choice, duration, duration_in, duration_or_zero, file, integer, listen_address, network, or_word,
    resolver, size, switch, text,
};

const LISTENERS_MAX: usize = 64;
const TRUSTED_MAX: usize = 1024;
const RESOLVERS_MAX: usize = 8;
const TOKENS_MAX: usize = 64;
const STATE: &str = "/var/lib/evenkeel";
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9990);

pub(super) fn server(s: &mut Section) -> Server {
    let listen = s.required("listen", "write where clients connect, such as `listen: 0.0.0.0:9999`");
    let listen = listen.map(|place| listeners(&place)).unwrap_or_default();
    let admin = admin(s);
    auto::notices(s, &listen, admin.tls.as_ref());
    if let Some(message) = auto::clash(admin.tls.as_ref(), &listen) {
        s.rule("admin", &[], false, || message);
    }
    let taken = |address: SocketAddr| listen.iter().find(|other| overlap(address, other.address));
    if let Some(taken) = admin.address.and_then(taken).or_else(|| admin.probes.and_then(taken)) {
        let message = || format!("clients already connect at {}; use another port, or `off`", taken.address);
        s.rule("admin", &[], false, message);
    }
    Server {
        admin,
        metrics: s.section("metrics", |s| Metrics { genai: s.get("genai", false, switch) }),
        api_keys: s
            .section("api_keys", |s| s.get("file", None, or_word("off", file)))
            .map(|file| ApiKeys { file }),
        threads: s.get("threads", None, or_word("auto", integer(1..=1024))),
        access_log: s.section("access_log", access_log),
        tracing: s.section("tracing", |s| tracing::tracing(s, |address| leads_back(&listen, address))),
        client: s.section("client", client),
        trusted_proxies: s.list("trusted_proxies", 0..=TRUSTED_MAX, network).unwrap_or_default(),
        drain_timeout: s.get("drain_timeout", Duration::from_mins(15), duration_or_zero),
        resolvers: s.list_or_off("resolvers", 1..=RESOLVERS_MAX, resolver).unwrap_or_default(),
        state: s.get("state", Some(STATE.into()), or_word("off", file)),
        response_headers: s.get("response_headers", true, switch),
        listen,
    }
}

/// One address, or a mapping with a further one for what may be seen from outside.
fn admin(s: &mut Section) -> Admin {
    let mut admin = Admin { address: Some(ADMIN_DEFAULT), ..Admin::default() };
    match s.take("admin") {
        Some(place) if matches!(place.raw.value, Value::Mapping(_)) => {
            if let Some(section) = place.section() {
                admin = section.finish(admin_section);
            }
        }
        Some(place) => {
            admin.address = place.read(or_word("off", listen_address)).unwrap_or(None);
            guarded(s, &admin);
        }
        None => {}
    }
    admin
}

fn admin_section(s: &mut Section) -> Admin {
    let address = s.get("address", Some(ADMIN_DEFAULT), or_word("off", listen_address));
    let probes = s.get("probes", None, or_word("off", listen_address));
    let overlaps = address.zip(probes).is_some_and(|(address, probes)| overlap(address, probes));
    s.rule("probes", &["address"], !overlaps, || {
        "overlaps with `address`, which has the probes too; use another port, or `off`".to_owned()
    });
    let tls = tls(s);
    let admin = Admin { address, probes, tls, tokens: tokens(s) };
    guarded(s, &admin);
    admin
}

/// An address that can be reached from outside needs TLS and tokens.
fn guarded(s: &Section, admin: &Admin) {
    let is_guarded = admin.tls.is_some() && !admin.tokens.is_empty();
    let Some(address) = admin.address.filter(|address| !address.ip().is_loopback() && !is_guarded) else {
        return;
    };
    let key = if s.knows("tokens") { "address" } else { "admin" };
    s.rule(key, &["tls", "tokens"], false, || {
        format!(
            "{address} can be reached from outside: give it `tls` and `tokens`, or use a loopback address such as \
             127.0.0.1:9990, and `{{ address: 127.0.0.1:9990, probes: {address} }}` for probes and metrics alone"
        )
    });
}

fn tokens(s: &mut Section) -> Vec<AdminToken> {
    const ROLES: [(&str, Role); 3] =
        [("read", Role::Read), ("operate", Role::Operate), ("register", Role::Register)];
    let items = s.take("tokens").and_then(|place| place.items(0..=TOKENS_MAX, "tokens"));
    let token = |s: &mut Section| {
        let role = s.required(
            "role",
            "write `read`, `operate` for orders too, or `register` for nodes that register themselves",
        );
        let role = role.and_then(|place| place.read(choice(&ROLES)));
        let path = s.required("file", "name the file that has the token");
        let path = path.and_then(|place| place.read(file));
        Some(AdminToken { role: role?, file: path?, place: s.place("file") })
    };
    items.iter().flatten().filter_map(|item| item.section()?.finish(token)).collect()
}

fn access_log(s: &mut Section) -> AccessLog {
    const FORMATS: [(&str, LogFormat); 3] =
        [("main", LogFormat::Main), ("json", LogFormat::Json), ("off", LogFormat::Off)];
    AccessLog {
        target: s.get("path", LogTarget::Stdout, log_target),
        format: s.get("format", LogFormat::Main, choice(&FORMATS)),
    }
}

pub(super) fn client(s: &mut Section) -> Client {
    Client {
        header_timeout: s.get("header_timeout", Duration::from_secs(60), duration),
        body_timeout: s.get("body_timeout", Duration::from_secs(60), duration),
        body_min_rate: s.get("body_min_rate", Some(1 << 10), or_word("off", size(1..=1 << 30))),
        send_timeout: s.get("send_timeout", Duration::from_mins(2), duration),
        sse_keepalive: s.get(
            "sse_keepalive",
            None,
            or_word("off", duration_in(Duration::from_secs(1)..=Duration::from_hours(1))),
        ),
        keepalive: s.get("keepalive", Duration::from_secs(65), duration_or_zero),
        max_header: s.get("max_header", 32 << 10, size(1 << 10..=1 << 20)),
        max_headers: s.get("max_headers", 100, integer(1..=256)),
        max_body: s.get("max_body", 64 << 20, size(1..=1 << 40)),
        max_connections: s.get("max_connections", 16_384, integer(1..=1 << 20)),
    }
}

/// One address, or a list of addresses; each is a string or a mapping.
fn listeners(place: &Place) -> Vec<Listener> {
    let items = match &place.raw.value {
        Value::List(_) => place.items(1..=LISTENERS_MAX, "addresses").unwrap_or_default(),
        _ => return listener(place).into_iter().collect(),
    };
    let mut listeners: Vec<Listener> = Vec::new();
    for item in &items {
        let Some(listener) = listener(item) else {
            continue;
        };
        if let Some(message) = auto::clash(listener.tls.as_ref(), &listeners) {
            item.problem(message);
        }
        match listeners.iter().find(|other| overlap(other.address, listener.address)) {
            Some(other) => item.problem(format!("{} is taken by {}", listener.address, other.address)),
            None => listeners.push(listener),
        }
    }
    listeners
}

fn listener(place: &Place) -> Option<Listener> {
    match place.raw.value {
        Value::Mapping(_) => place.section()?.finish(|s| {
            let address = s.required("address", "write an IP address and a port");
            let (address, tls) = (address.and_then(|address| address.read(listen_address)), tls(s));
            Some(Listener { address: address?, tls })
        }),
        _ => place.read(listen_address).map(|address| Listener { address, tls: None }),
    }
}

/// Two addresses cannot both be listened on: `0.0.0.0` takes its port on every IPv4 address.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (any || a.ip() == b.ip())
}

/// The listener that a connection to this node address would reach.
pub(super) fn leads_back<'a>(listen: &'a [Listener], node: &HostPort) -> Option<&'a Listener> {
    let ip = if node.host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { node.ip() };
    let to = SocketAddr::new(ip?, node.port);
    let here = |listen: SocketAddr| {
        let any = listen.ip().is_unspecified() && (to.ip().is_loopback() || to.ip().is_unspecified());
        listen.port() == to.port() && (any || listen.ip() == to.ip())
    };
    listen.iter().find(|listener| here(listener.address))
}

fn log_target(raw: &Raw) -> Result<LogTarget, String> {
    match text(raw)?.as_str() {
        "-" => Ok(LogTarget::Stdout),
        "" => Err("is empty; write a file, or \"-\" for standard output".to_owned()),
        path if path.contains('\0') => Err("a path has no NUL character".to_owned()),
        path => Ok(LogTarget::File(PathBuf::from(path))),
    }
}
