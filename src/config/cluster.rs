//! Several gateways as one: where they meet, and their times.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::address::HostPort;

/// The gateways that share the limits of their nodes and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Redis or Valkey, where the gateways meet.
    pub redis: Redis,
    /// Gateways of one name are one cluster; default `evenkeel`.
    pub name: String,
    /// The pause between two exchanges; 20ms to 5s, default 100ms.
    pub interval: Duration,
    /// The address at which this gateway answers the others whether it lives; port 0: any. `None`: that of its connection to Redis.
    pub listen: Option<SocketAddr>,
    /// Credits of a gateway that is silent, and that nobody can ask, stay its own for so long; 10s to 24h, default 15m.
    pub forget_after: Duration,
}

/// A Redis server and the way in.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    pub address: HostPort,
    /// Within TLS.
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<String>,
    /// The number of the database, 0 to 65535; default 0.
    pub database: u16,
}

/// As it may be shown: without user and password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}", self.address)?;
        if self.database > 0 { write!(f, "/{}", self.database) } else { Ok(()) }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({self})")
    }
}
