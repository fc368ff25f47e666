//! The target of a request, as nodes get it.

use std::net::SocketAddr;

use pingora::http::RequestHeader;

use crate::config::Link;
use crate::fleet::NodeId;

/// Fields of a request that hold a client's credential. A node with a key of its own gets none of them.
pub(crate) const CREDENTIALS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// The Host of a node for a client that named none. Behind TLS it is the name that the certificate is for, too.
pub(crate) fn host_of(node: &NodeId, address: SocketAddr) -> String {
    match (&node.access.link, node.address.host_port()) {
        (Link::Tls(_), Some(named)) => named.to_string(),
        (Link::Tcp | Link::Tls(_), _) => address.to_string(),
        (Link::Unix(_), _) => "localhost".to_owned(),
    }
}

/// The target for the node. Clients may send a whole URI, which servers are to understand (RFC 9112 section 3.2.2) and
/// not all do.
pub(crate) fn path(header: &RequestHeader) -> &[u8] {
    let raw = header.raw_path();
    match header.uri.path_and_query() {
        Some(path) if !raw.starts_with(b"/") && raw.contains(&b':') => path.as_str().as_bytes(),
        _ => raw,
    }
}
