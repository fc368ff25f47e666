//! The far end of a connection to a node: the address, and the way it is reached.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Link, NodeTls};

/// An address, and the way it is reached. Connections to equal endpoints may stand in for each other, and no others may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<NodeTls>),
    Unix(Arc<Path>),
}

impl Endpoint {
    /// `address`: of the node, if it has one.
    pub fn of(link: &Link, address: SocketAddr) -> Self {
        match link {
            Link::Tcp => Self::Tcp(address),
            Link::Tls(tls) => Self::Tls(address, Arc::clone(tls)),
            Link::Unix(path) => Self::Unix(Arc::clone(path)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address, _) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
