//! Node addresses: parses `host:port`, where the host is a name or an IP address, into a canonical form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// `host:port`, where the host is a name in lower case or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    /// A name, an IPv4 address, or an IPv6 address without brackets; in its canonical form, so that
    /// two spellings of one address are equal.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl NodeAddress {
    /// The host as an IP address; `None` when it is a name that must be resolved.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Parses `host:port`, `1.2.3.4:port` and `[v6]:port`, each with or without a leading `http://`. The error is
/// a message for people.
impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let begins =
            |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if begins("https://") {
            return Err("TLS to nodes is not supported yet; use an http address".to_owned());
        }
        let plain = if begins("http://") { &text["http://".len()..] } else { text };
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        if plain.contains('/') {
            let why = "a path in front of the requests' own is not supported yet; write only host:port";
            return Err(
                if plain.contains("://") { "it must be a host and a port only" } else { why }.to_owned()
            );
        }
        let (host, port) = split_port(plain)?;
        Ok(Self { host: canonical_host(host)?, port })
    }
}

/// Splits `host:port`; an IPv6 address keeps its brackets.
pub(super) fn split_port(text: &str) -> Result<(&str, u16), String> {
    let missing = || "it has no port; write host:port".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(missing)?;
    if host.starts_with('[') != host.ends_with(']') {
        return Err(missing());
    }
    if host.contains('@') {
        return Err("a user and a password in front of the host are not supported".to_owned());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address is written [address]:port".to_owned());
    }
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok((host, number)),
        _ => Err("the port is a number from 1 to 65535".to_owned()),
    }
}

fn canonical_host(host: &str) -> Result<String, String> {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let parsed = v6.parse::<Ipv6Addr>().map_err(|_| "the text in brackets is not an IPv6 address")?;
        return Ok(parsed.to_string());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    // the dot at the end of a name keeps the resolver from its search list (RFC 1034 section 3.1, resolv.conf)
    let name = host.strip_suffix('.').unwrap_or(host);
    let looks_like_ip = name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if name.is_empty() || looks_like_ip || name.len() > 253 || !name.split('.').all(is_label) {
        return Err("the host is neither an IP address nor a host name".to_owned());
    }
    Ok(host.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && edge(bytes.first())
        && edge(bytes.last())
}
