//! The way to a node, and the key that it wants: values without anything that is still to be read or could still be wrong.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};

/// The way to a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Tcp,
    Tls(Arc<NodeTls>),
    Unix(Arc<Path>),
}

/// TLS to a node. The node's certificate is always verified.
#[derive(Clone)]
pub struct NodeTls {
    /// The name or the IP address that the node's certificate must be for. A name is sent as SNI.
    pub name: ServerName<'static>,
    /// The authorities that may have signed the node's certificate, the gateway's own certificate if it has one, and ALPN.
    pub client: Arc<ClientConfig>,
    /// Tells these settings from all others.
    id: Id,
}

/// The hash of settings.
pub(super) type Id = [u8; 32];

impl NodeTls {
    /// `id`: the hash of all that `client` was made of.
    pub(super) fn new(name: ServerName<'static>, client: Arc<ClientConfig>, id: Id) -> Self {
        Self { name, client, id }
    }
}

impl PartialEq for NodeTls {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.id) == (&other.name, &other.id)
    }
}

impl Eq for NodeTls {}

impl Hash for NodeTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The name only: keys are within.
impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The settings of TLS to nodes, whatever their addresses.
#[derive(Clone)]
pub struct Https {
    sni: Option<ServerName<'static>>,
    client: Arc<ClientConfig>,
    /// The hash of all that `client` was made of.
    id: Id,
}

/// Nothing: keys are within.
impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Https")
    }
}

impl Https {
    pub(super) fn new(sni: Option<ServerName<'static>>, client: Arc<ClientConfig>, id: Id) -> Self {
        Self { sni, client, id }
    }

    /// The way to the node at this host. The error is a message for people.
    pub(super) fn link(&self, host: &str) -> Result<Link, String> {
        let name = self.sni.clone().map_or_else(|| name_of(host), Ok)?;
        let id = hash([&self.id[..], name.to_str().as_bytes()]);
        Ok(Link::Tls(Arc::new(NodeTls::new(name, Arc::clone(&self.client), id))))
    }
}

impl PartialEq for Https {
    fn eq(&self, other: &Self) -> bool {
        (&self.sni, &self.id) == (&other.sni, &other.id)
    }
}

/// A node's own key, as the value of `Authorization`.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey(HeaderValue);

impl NodeKey {
    /// `None`: it cannot stand in a header.
    pub(super) fn new(value: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// Marked as sensitive.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey")
    }
}

/// The name of the host, without the dot at its end, which certificates do not have; or its IP address.
fn name_of(host: &str) -> Result<ServerName<'static>, String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned())
        .map_err(|_| format!("no certificate can be for {host}; write the name that it is for as `tls.sni`"))
}

/// Of these parts and their borders.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Id {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
