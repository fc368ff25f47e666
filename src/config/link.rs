//! The way to a node, and the key that it wants: values without anything that is still to be read or could still be wrong.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

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
