//! HTTP/1 on bytes (RFC 9112): parses and writes heads, fields, lengths and the chunked coding.
//!
//! Bytes in, facts out: no socket, no timer, no clock.
//!
//! Requests are checked strictly ([`check_request`]), because nodes must read them as the gateway does.
//! Response heads are parsed as leniently as RFC 9112 allows, because they are written anew; response bodies
//! are parsed strictly.

mod body;
mod chunked;
mod fields;
mod head_reader;
mod hop;
mod host;
mod joined;
mod line;
mod part;
mod request;
mod response;
mod write;

pub use body::{Body, Truncated};
pub use chunked::{Chunked, LAST_CHUNK, SIZE_LINE_MAX, size_line};
pub use fields::Fields;
pub(crate) use head_reader::HeadReader;
pub use hop::HopByHop;
pub(crate) use host::is_host;
pub use joined::Joined;
pub(crate) use part::range_in;
pub(crate) use request::{BAD_HOST, CONNECT, HeadLimits, LARGE_HEAD, RequestHead, parts_of_head};
pub use request::{Rejection, RequestFraming, check_request, request_fields};
pub use response::{Announced, BadFraming, Framing, HEAD_MAX, ResponseHead, announced, parse_response};
pub use write::{Coding, ReplyTo, put_field, put_length, write_request, write_response};

/// The bytes break a rule of RFC 9112, or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests;
