//! Writes heads: of responses for clients, and of requests for nodes.
//!
//! Both drop hop-by-hop fields (RFC 9110 section 7.6) and are framed anew.
//!
//! Each head is written directly from the received fields. Copying a head, changing the copy and writing that
//! took a fifth of the instructions of a request.

use super::{HopByHop, ResponseHead};

/// Initial capacity for a response head, in bytes: more than most need.
const USUAL: usize = 512;

/// Appends a field to a head.
pub fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The way a response's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Unchanged: its length is known, or there is none.
    Plain,
    Chunked,
    /// Unchanged, and the connection is closed after it: HTTP/1.0 clients know no coding.
    UntilClose,
}

/// The properties of the request that a response's head depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// The method was HEAD.
    pub is_head: bool,
    /// The client speaks HTTP/1.0.
    pub is_http10: bool,
}

/// Writes a response head for an HTTP/1 client. Returns it with the coding of the body, and whether the
/// connection may serve another request (never if `keeps` is false). `ours`: the gateway's own fields, which
/// replace fields of the same names; `date`: the value of `Date`. Call [`ResponseHead::framing`] first.
pub fn write_response(
    head: &ResponseHead,
    ours: &[(&str, &str)],
    asked: ReplyTo,
    keeps: bool,
    date: &str,
) -> (Vec<u8>, Coding, bool) {
    let is_empty = head.status < 200 || head.status == 204;
    let has_length = !is_empty && head.fields.contains("content-length");
    let lacks_length = !has_length && !is_empty && head.status != 304;
    let (coding, keeps) = match (lacks_length, asked.is_http10) {
        (false, _) => (Coding::Plain, keeps),
        (true, false) => (Coding::Chunked, keeps),
        (true, true) if asked.is_head => (Coding::Plain, keeps),
        (true, true) => (Coding::UntilClose, false),
    };
    let hop_by_hop = HopByHop::of(head.fields.iter());
    let mut out = Vec::with_capacity(USUAL);
    put_status_line(&mut out, head);
    for (name, value) in head.fields.iter() {
        // a client that believed the length of an absent body would wait for it (RFC 9110 section 8.6)
        let is_dropped = is(name, "date") || is_empty && is(name, "content-length");
        if !is_dropped && !hop_by_hop.has(name) && !is_any(name, ours) {
            put_field(&mut out, name, value);
        }
    }
    for (name, value) in ours {
        put_field(&mut out, name.as_bytes(), value.as_bytes());
    }
    if coding == Coding::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    put_field(&mut out, b"Date", date.as_bytes());
    out.extend_from_slice(if keeps {
        b"Connection: keep-alive\r\n\r\n"
    } else {
        b"Connection: close\r\n\r\n"
    });
    // the response to HEAD announces how its body would be written (RFC 9112 section 6.1)
    (out, if asked.is_head { Coding::Plain } else { coding }, keeps)
}

/// The version is always the gateway's own (RFC 9110 section 6.2).
fn put_status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend([head.status / 100, head.status / 10 % 10, head.status % 10].map(|digit| b'0' + digit as u8));
    out.push(b' ');
    out.extend_from_slice(&head.reason);
    out.extend_from_slice(b"\r\n");
}

/// Writes a request head for a node, announcing a body of `length` bytes if there is one. The empty line that
/// ends the head is left to the caller, who may append fields, among them `Host` if the client sent none (RFC
/// 9112 section 3.2). `ours`: the gateway's own fields, which replace fields of the same names. `room`: the
/// number of bytes that will be appended.
pub fn write_request<'a>(
    method: &str,
    target: &[u8],
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    length: Option<u64>,
    ours: &[(&str, &str)],
    room: usize,
) -> Vec<u8> {
    let hop_by_hop = HopByHop::of(fields.clone());
    let mut out = Vec::with_capacity(2 * USUAL + room);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in fields {
        if !hop_by_hop.has(name)
            && !is_for_gateway(name)
            && !is(name, "content-length")
            && !is_any(name, ours)
        {
            put_field(&mut out, name, value);
        }
    }
    if let Some(length) = length {
        put_length(&mut out, length);
    }
    for (name, value) in ours {
        put_field(&mut out, name.as_bytes(), value.as_bytes());
    }
    out
}

/// Appends the length of a body.
pub fn put_length(out: &mut Vec<u8>, length: u64) {
    let mut room = [0; 20];
    let mut at = room.len();
    let mut left = length;
    loop {
        at -= 1;
        room[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    put_field(out, b"Content-Length", &room[at..]);
}

/// Fields meant for the gateway: it requests the body itself (RFC 9110 section 10.1.1), and proxy credentials
/// are not for nodes (section 11.7.2).
fn is_for_gateway(name: &[u8]) -> bool {
    is(name, "expect") || is(name, "proxy-authorization")
}

fn is(name: &[u8], other: &str) -> bool {
    name.eq_ignore_ascii_case(other.as_bytes())
}

fn is_any(name: &[u8], ours: &[(&str, &str)]) -> bool {
    ours.iter().any(|(other, _)| is(name, other))
}
