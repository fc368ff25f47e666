//! The `server` section: addresses, certificates, limits on clients.

use std::net::SocketAddr;

use super::super::draft::{Draft, Item, Mapping, Value};
use super::super::note::{Kind, Origin};
use super::parse::{Line, Section};
use super::proxy::Proxy;
use super::units;

/// The address of a file that has none.
const LISTEN: &str = "0.0.0.0:9999";
/// The port of the admin address, and the one that it moves to.
const ADMIN_PORTS: (u16, &str) = (9990, "127.0.0.1:9991");
/// Most addresses that the config takes.
const LISTENERS_MAX: usize = 64;
const CONNECTIONS_MAX: u64 = 1 << 20;
/// The client's silence that HAProxy's `timeout client` is about, on both ways.
const SILENCE: [&str; 2] = ["body_timeout", "send_timeout"];

/// Writes down what the frontends that lead to nodes say of their clients.
pub(super) fn front(fronts: &[Proxy], sections: &[Section], section: &mut Mapping, draft: &mut Draft) {
    let mut items: Vec<(SocketAddr, Item)> = Vec::new();
    for front in fronts {
        for line in front.own("bind") {
            binds(line, 1, &mut items, draft);
        }
        // the address behind the name, as old files have it
        if front.section.head.word(2).contains(':') {
            binds(&front.section.head, 2, &mut items, draft);
        }
    }
    without_overlaps(&mut items);
    let is_taken = items.iter().any(|(address, _)| address.port() == ADMIN_PORTS.0);
    let items: Vec<Item> = items.into_iter().map(|(_, item)| item).collect();
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
        section.text("admin", ADMIN_PORTS.1, None);
    }
    section.section("client", |client| limits(fronts, sections, client));
}

/// The addresses of one line: `:80`, `*:80,*:81`, `10.0.0.1:443 ssl crt FILE`.
fn binds(line: &Line, at: usize, items: &mut Vec<(SocketAddr, Item)>, draft: &mut Draft) {
    let place = || Some(line.place.clone());
    if line.has("accept-proxy") {
        let reason = "the PROXY protocol is not read, and requests that come with it get 400";
        let advice = "let the balancer in front send X-Forwarded-For, and name it in `trusted_proxies`";
        draft.note(Kind::Left, place(), "accept-proxy", reason, advice);
    }
    for text in line.word(at).split(',') {
        match address(text).filter(|_| items.len() < LISTENERS_MAX) {
            _ if text.starts_with("quic") => {
                draft.note(Kind::Left, place(), text, "HTTP/3 is not spoken", "")
            }
            Some(address) => {
                if !items.iter().any(|(other, _)| *other == address) {
                    let from = if at == 1 { line.said(&format!("bind {text}")) } else { line.origin() };
                    items.push((address, item(address, line, &from, draft)));
                }
            }
            None => {
                let reason = "it is not an IP address and a port, or one too many";
                draft.note(
                    Kind::Left,
                    place(),
                    &format!("bind {text}"),
                    reason,
                    "write one under `server.listen`",
                );
            }
        }
    }
}

fn item(address: SocketAddr, line: &Line, from: &Origin, draft: &mut Draft) -> Item {
    let plain =
        |address: SocketAddr| Item { value: Value::Text(address.to_string()), origin: Some(from.clone()) };
    if !line.has("ssl") {
        return plain(address);
    }
    let files: Vec<&str> = line
        .words
        .windows(2)
        .filter_map(|pair| (pair[0] == "crt").then_some(pair[1].as_str()))
        .filter(|file| !file.ends_with('/'))
        .collect();
    let mut note = |reason: &str, advice: &str| {
        draft.note(Kind::Warning, Some(line.place.clone()), "ssl", reason, advice);
    };
    let Some((first, further)) = files.split_first() else {
        note(
            "certificates are named one by one, and this line names no file of one, so the address is without TLS here",
            "write `tls: { cert: ..., key: ... }`, or `tls: { auto: ... }`",
        );
        return plain(address);
    };
    note(
        "HAProxy takes a folder or a list of certificates as well as a file; each `crt` must be a file with certificate and key",
        "",
    );
    let crt = line.said(&format!("crt {first}"));
    let mut tls = Mapping::default();
    tls.text("cert", *first, Some(&crt));
    tls.text("key", *first, Some(&crt));
    if !further.is_empty() {
        let further = further.iter().map(|file| {
            let mut pair = Mapping::default();
            pair.text("cert", *file, None);
            pair.text("key", *file, None);
            Item { value: Value::Inline(pair), origin: Some(line.said(&format!("crt {file}"))) }
        });
        tls.set("certificates", Value::List(further.collect()), None);
    }
    if line.after("ssl-min-ver") == Some("TLSv1.3") {
        tls.text("min_version", "1.3", Some(&line.said("ssl-min-ver TLSv1.3")));
    }
    let verify = match line.after("verify") {
        Some("required") => "on",
        Some("optional") => "optional",
        _ => "",
    };
    if let Some(ca) = line.after("ca-file").filter(|_| !verify.is_empty()) {
        tls.text("verify_client", verify, Some(&line.said("verify")));
        tls.text("client_ca", ca, Some(&line.said(&format!("ca-file {ca}"))));
    }
    let mut item = Mapping::default();
    item.text("address", address.to_string(), Some(from));
    item.set("tls", tls.into(), None);
    Item { value: item.into(), origin: None }
}

/// `0.0.0.0` takes its port on every address.
fn without_overlaps(items: &mut Vec<(SocketAddr, Item)>) {
    let any: Vec<_> =
        items.iter().map(|(address, _)| *address).filter(|address| address.ip().is_unspecified()).collect();
    items.retain(|(address, _)| {
        !any.iter()
            .any(|any| any.port() == address.port() && any.is_ipv4() == address.is_ipv4() && any != address)
    });
}

/// `:80`, `*:80`, `10.0.0.1:80`, `[::]:80`, `:::80`.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("ipv4@").or_else(|| text.strip_prefix("ipv6@")).unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
    let host = match host {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host.trim_start_matches('[').trim_end_matches(']'),
    };
    Some(SocketAddr::new(host.parse().ok()?, port))
}

fn limits(fronts: &[Proxy], sections: &[Section], client: &mut Mapping) {
    let longest = |name: &str| {
        let lines = fronts.iter().filter_map(|front| front.last(&format!("timeout {name}")));
        lines.filter_map(|line| Some((units::time(line.word(2))?, line))).max_by_key(|(time, _)| *time)
    };
    if let Some((time, line)) = longest("http-request") {
        client.word("header_timeout", units::word(time), Some(&line.origin()));
    }
    if let Some((time, line)) = longest("client") {
        for key in SILENCE {
            client.word(key, units::word(time), Some(&line.origin()));
        }
    }
    if let Some((time, line)) = longest("http-keep-alive") {
        let word = if time.is_zero() { "off".to_owned() } else { units::word(time) };
        client.word("keepalive", word, Some(&line.origin()));
    }
    let globals = sections.iter().filter(|section| section.kind == "global");
    let most = globals.flat_map(|section| &section.lines).rfind(|line| line.is("maxconn"));
    let own = fronts.iter().filter_map(|front| front.last("maxconn")).next();
    if let Some(line) = own.or(most)
        && let Ok(count @ 1..=CONNECTIONS_MAX) = line.word(1).parse::<u64>()
    {
        client.word("max_connections", count.to_string(), Some(&line.origin()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        let table = [
            (":80", Some("0.0.0.0:80")),
            ("*:80", Some("0.0.0.0:80")),
            ("10.0.0.1:80", Some("10.0.0.1:80")),
            ("[::]:80", Some("[::]:80")),
            (":::80", Some("[::]:80")),
            ("/run/x.sock", None),
            ("*:0", None),
            ("*:80-90", None),
            ("host:80", None),
        ];
        for (text, wanted) in table {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), wanted, "{text}");
        }
    }
}
