//! The head of a request as nodes get it: written once, and completed for each attempt.

use std::net::SocketAddr;

use http::header::HOST;
use pingora::http::RequestHeader;

use super::super::caller::Caller;
use super::super::upstream::target::{host_of, path};
use super::keyed::{lines, with_key};
use crate::fleet::NodeId;
use crate::forwarded::{id_suffix, introduction};
use crate::http1::{self, put_field, request_fields, write_request};
use crate::keys;
use crate::trace::{TRACEPARENT, TRACESTATE};

/// Room for what each attempt appends to the head, in bytes.
const APPENDED: usize = 128;

/// The request's head as nodes get it.
pub(super) struct NodeHead {
    wire: Vec<u8>,
    /// So much of it is the same for each attempt.
    shared: usize,
    /// Its last field so far is the request id.
    has_id: bool,
    /// The number of times it was written.
    written: u32,
    /// The Host that each attempt adds where the client named none: HTTP/1.1 demands one.
    host: Host,
    /// A body without any bytes has a length, too.
    has_length: bool,
    /// The client's own target, once another was aimed at.
    own_target: Vec<u8>,
    /// The head for a node with a key of its own.
    keyed: Vec<u8>,
}

enum Host {
    Named,
    Authority(String),
    /// The node's address.
    Node,
}

impl NodeHead {
    pub(super) fn of(caller: &Caller, header: &RequestHeader, raw: Option<&[u8]>) -> Self {
        let ours = caller.sender.as_ref().map(|sender| introduction(sender, &caller.request_id));
        let has_id = ours.is_some();
        let ours = ours.as_ref().map_or(&[][..], |ours| &ours[..]);
        let target = caller.node_target(path(header));
        let (method, target) = (header.method.as_str(), &*target);
        let hides_keys = caller.hides_keys();
        let is_passed = move |(name, _): &(&[u8], &[u8])| !(hides_keys && keys::is_field(name));
        let wire = match raw {
            Some(raw) => {
                let fields = request_fields(raw).filter(is_passed);
                write_request(method, target, fields, None, ours, APPENDED)
            }
            None => {
                let fields = header.headers.iter();
                let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                let fields: Vec<_> = fields.filter(is_passed).collect();
                write_request(method, target, fields.iter().copied(), None, ours, APPENDED)
            }
        };
        let host = if header.headers.contains_key(HOST) {
            Host::Named
        } else {
            header.uri.authority().map_or(Host::Node, |authority| Host::Authority(authority.to_string()))
        };
        let mut head = Self {
            shared: wire.len(),
            wire,
            has_id,
            written: 0,
            host,
            has_length: !header.method.is_safe(),
            own_target: Vec::new(),
            keyed: Vec::new(),
        };
        if let Some(trace) = &caller.trace {
            head.remove(TRACEPARENT.as_bytes());
            if !trace.keeps_state() {
                head.remove(TRACESTATE.as_bytes());
            }
        }
        head
    }

    /// Drops all fields with this name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        let kept: Vec<_> = lines(&self.wire[..self.shared])
            .filter(|(found, _)| !found.is_some_and(|found| found.eq_ignore_ascii_case(name)))
            .map(|(_, line)| line)
            .collect();
        self.wire = kept.concat();
        self.shared = self.wire.len();
    }

    /// Aims at another path, or at the client's own again. The query stays.
    pub(super) fn aim_at(&mut self, path: Option<&str>) {
        let mut spaces = memchr::memchr_iter(b' ', &self.wire);
        let (Some(method), Some(end)) = (spaces.next(), spaces.next()) else { return };
        let target = method + 1..end;
        if self.own_target.is_empty() {
            self.own_target = self.wire[target.clone()].to_vec();
        }
        let own = &self.own_target;
        let mut next = own.clone();
        if let Some(path) = path {
            next.splice(..memchr::memchr(b'?', own).unwrap_or(own.len()), path.bytes());
        }
        self.shared = self.shared + next.len() - target.len();
        self.wire.splice(target, next);
    }

    /// No node needs it any more.
    pub(super) fn release(&mut self) {
        (self.wire, self.keyed) = (Vec::new(), Vec::new());
    }

    /// The header, as far as it is the same for each attempt.
    pub(super) fn as_sent(&self) -> &[u8] {
        &self.wire[..self.shared.min(self.wire.len())]
    }

    /// For the next attempt. `trace`: its `traceparent`, where that is not the client's. `length`: of the body; `None`: it is chunked.
    pub(super) fn wire(
        &mut self,
        (node, address): (&NodeId, SocketAddr),
        length: Option<u64>,
        trace: Option<&[u8]>,
    ) -> &[u8] {
        const LINE_END: &[u8] = b"\r\n";
        self.wire.truncate(self.shared);
        let wire = match &node.access.authorization {
            None => &mut self.wire,
            Some(key) => {
                self.keyed = with_key(&self.wire, key.value().as_bytes());
                &mut self.keyed
            }
        };
        self.written += 1;
        if self.has_id && self.written > 1 {
            wire.truncate(wire.len() - LINE_END.len());
            wire.extend_from_slice(id_suffix(self.written).as_bytes());
            wire.extend_from_slice(LINE_END);
        }
        match &self.host {
            Host::Named => {}
            Host::Authority(authority) => put_field(wire, b"Host", authority.as_bytes()),
            Host::Node => put_field(wire, b"Host", host_of(node, address).as_bytes()),
        }
        if let Some(trace) = trace {
            put_field(wire, TRACEPARENT.as_bytes(), trace);
        }
        match length {
            None => wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Some(length) if length > 0 || self.has_length => http1::put_length(wire, length),
            Some(_) => {}
        }
        wire.extend_from_slice(LINE_END);
        wire
    }
}
