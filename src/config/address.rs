//! Node addresses: `host:port`, `https://host` or `unix:/path`, parsed into a canonical form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// The port of an `https://` address that names none.
const HTTPS_PORT: u16 = 443;
/// The most bytes of a unix socket's path that the system allows.
const SOCKET_PATH_MAX: usize = 107;

/// `host:port`, where the host is a name in lower case or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets; in its canonical form, so that
    /// two spellings of one address are equal.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// The address of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeAddress {
    Http(HostPort),
    /// Within TLS.
    Https(HostPort),
    /// The path of a unix socket.
    Unix(Arc<Path>),
}

impl HostPort {
    /// The host as an IP address; `None` when it is a name that must be resolved.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl NodeAddress {
    /// `None`: it is a unix socket.
    pub fn host_port(&self) -> Option<&HostPort> {
        match self {
            Self::Http(address) | Self::Https(address) => Some(address),
            Self::Unix(_) => None,
        }
    }

    /// The address without the way it is reached, as far as it can be a name.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Http(address) | Self::Https(address) => address.to_string(),
            Self::Unix(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// As it is written, with the port.
impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => address.fmt(f),
            Self::Https(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Parses `host:port`, `1.2.3.4:port` and `[v6]:port`, each with or without a leading `http://`. The error is
/// a message for people.
impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if without(text, "https://").is_some() {
            return Err("TLS is not supported here; use an http address".to_owned());
        }
        authority(without(text, "http://").unwrap_or(text), None)
    }
}

/// Parses the same, `https://host` with or without a port, and `unix:/path`. The error is a message for people.
impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = without(text, "unix:") {
            return socket(path);
        }
        match without(text, "https://") {
            Some(rest) => authority(rest, Some(HTTPS_PORT)).map(Self::Https),
            None => text.parse().map(Self::Http),
        }
    }
}

fn without<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn socket(path: &str) -> Result<NodeAddress, String> {
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("the path of a unix socket is absolute; write unix:/path".to_owned());
    }
    if path.len() > SOCKET_PATH_MAX || path.chars().any(char::is_control) {
        return Err(format!(
            "the path of a unix socket has at most {SOCKET_PATH_MAX} bytes, and no control characters"
        ));
    }
    Ok(NodeAddress::Unix(Path::new(path).into()))
}

/// Host and port of what stands behind the scheme.
fn authority(plain: &str, default_port: Option<u16>) -> Result<HostPort, String> {
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    if plain.contains('/') {
        let why = "a path in front of the requests' own is not supported yet; write only host:port";
        return Err(if plain.contains("://") { "it must be a host and a port only" } else { why }.to_owned());
    }
    let has_port =
        plain.rsplit_once(':').is_some_and(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    let (host, port) = match default_port {
        Some(port) if !has_port => (plain, port),
        _ => split_port(plain)?,
    };
    Ok(HostPort { host: canonical_host(host)?, port })
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
    if !is_host_name(host) {
        return Err("the host is neither an IP address nor a host name".to_owned());
    }
    Ok(host.to_ascii_lowercase())
}

pub(super) fn is_host_name(host: &str) -> bool {
    // the dot at the end of a name keeps the resolver from its search list (RFC 1034 section 3.1, resolv.conf)
    let name = host.strip_suffix('.').unwrap_or(host);
    let looks_like_ip = name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    !name.is_empty() && !looks_like_ip && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && edge(bytes.first())
        && edge(bytes.last())
}
