//! The places where a pool's nodes come from besides its list, as values.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::address::NodeAddress;

/// A place where nodes of a pool are found while the gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Dns(DnsSource),
    File(FileSource),
    /// The nodes register themselves.
    Registered(Registration),
}

/// Names in DNS whose answers are nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSource {
    pub ask: Ask,
    /// The nodes are reached within TLS; their certificates are for the name, unless `tls.sni` names another.
    pub https: bool,
    /// The time for which the last nodes are kept while the answer is that there are none; 0 to 366 days, default 10 minutes.
    pub hold: Duration,
}

/// The question to DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Each address (A, AAAA) of the name is a node, at this port.
    Addresses { name: Arc<str>, port: u16 },
    /// Each address of the targets of its SRV records is a node, at the record's port.
    Services { name: Arc<str> },
}

/// A file that lists nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// A relative path is relative to the folder of the config file.
    pub path: PathBuf,
}

/// The rules for nodes that register themselves in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The networks in which their addresses must be; default none: any address.
    pub allow: Vec<IpNet>,
    /// The most of them at one time; 1 to 4096, default 256.
    pub max: usize,
}

impl Registration {
    /// A node may have this address. A name may lead anywhere, so it has none where networks are listed.
    pub fn allows(&self, address: &NodeAddress) -> bool {
        let Some(address) = address.host_port() else { return false };
        let is_in = |ip: IpAddr| self.allow.iter().any(|network| network.contains(&ip.to_canonical()));
        self.allow.is_empty() || address.ip().is_some_and(is_in)
    }
}

/// The place where a node comes from. Of each there is at most one in a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The pool's `nodes`.
    #[default]
    Config,
    Dns(Ask),
    File(Arc<Path>),
    /// The nodes have said so themselves.
    Registered,
}

impl Source {
    /// The origin of its nodes, by which it is known.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Dns(dns) => Origin::Dns(dns.ask.clone()),
            Self::File(file) => Origin::File(file.path.as_path().into()),
            Self::Registered(_) => Origin::Registered,
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses { name, port } => write!(f, "dns {name}:{port}"),
            Self::Services { name } => write!(f, "srv {name}"),
        }
    }
}

/// As logs and status have it: `config`, `dns vllm.default.svc:8000`, `srv _http._tcp.vllm`, `file /etc/nodes.yaml`, `registered`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Dns(ask) => ask.fmt(f),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Registered => f.write_str("registered"),
        }
    }
}
