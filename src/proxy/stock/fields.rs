//! The fields of a message on Pingora's own path, which does the framing: what concerned one connection is stripped.

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::super::upstream::target::{CREDENTIALS, host_of, path};
use crate::fleet::NodeId;
use crate::forwarded::{Sender, introduction};
use crate::http1::HopByHop;
use crate::trace::{TRACEPARENT, TRACESTATE, Trace};

/// Fields of a request that are meant for the gateway.
const FOR_GATEWAY: [&str; 2] = ["expect", "proxy-authorization"];

/// Takes from a request what concerned the client's connection, but for the two fields that ask for a switch of protocols.
pub(crate) fn strip_for_node(header: &mut RequestHeader) -> Result<()> {
    if path(header) != header.raw_path() {
        let path = path(header).to_vec();
        header.set_raw_path(&path)?;
    }
    for name in connection_fields(&header.headers) {
        let framing = name == TRANSFER_ENCODING;
        let upgrading = name == UPGRADE || name == CONNECTION;
        if !framing && !upgrading {
            header.remove_header(&name);
        }
    }
    for name in FOR_GATEWAY {
        header.remove_header(name);
    }
    header.insert_header(CONNECTION, "Upgrade")
}

/// The same for a response; a switch of protocols keeps the two fields that make it one.
pub(crate) fn strip_for_client(header: &mut ResponseHeader) {
    let switches = header.status == StatusCode::SWITCHING_PROTOCOLS;
    for name in connection_fields(&header.headers) {
        let framing = name == TRANSFER_ENCODING;
        let switching = switches && (name == UPGRADE || name == CONNECTION);
        if !framing && !switching {
            header.remove_header(&name);
        }
    }
}

/// HTTP/1.1 demands a Host even for a client that did not name one, which HTTP/1.0 allows.
pub(crate) fn give_host(header: &mut RequestHeader, node: &NodeId, address: SocketAddr) -> Result<()> {
    if header.version == Version::HTTP_11 && !header.headers.contains_key(HOST) {
        header.insert_header(HOST, host_of(node, address))?;
    }
    Ok(())
}

/// A node with a key of its own gets that, and none of the client's.
pub(crate) fn authorize(header: &mut RequestHeader, node: &NodeId) -> Result<()> {
    let Some(key) = &node.access.authorization else { return Ok(()) };
    for name in CREDENTIALS {
        header.remove_header(name);
    }
    header.insert_header(AUTHORIZATION, key.value().clone())
}

/// Adds what a node is told of the sender.
pub(crate) fn introduce(header: &mut RequestHeader, sender: Option<&Sender>, request_id: &str) -> Result<()> {
    let told = sender.map(|sender| introduction(sender, request_id));
    told.into_iter().flatten().try_for_each(|(name, value)| header.insert_header(name, value))
}

/// Names the span of the `nth` attempt to its node.
pub(crate) fn trace(header: &mut RequestHeader, trace: &Trace, nth: usize) -> Result<()> {
    if !trace.keeps_state() {
        header.remove_header(TRACESTATE);
    }
    header.insert_header(TRACEPARENT, &trace.traceparent(nth)[..])
}

/// The names of all fields of this message that concern one connection only.
fn connection_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let fields = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let hop_by_hop = HopByHop::of(fields);
    headers.keys().filter(|name| hop_by_hop.has(name.as_str().as_bytes())).cloned().collect()
}
