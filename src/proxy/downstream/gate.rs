//! The gate between a connection and the session that reads one request from it.
//!
//! Pingora's session decodes a body less strictly than RFC 9112 has it (section 7.1: httparse takes a size without digits for 0,
//! and skips a bare LF in an extension). So it gets only bytes that have passed, and none after the request's end.

use std::io;

use crate::http1::{Body, Malformed};

/// The bytes that may be read at present.
#[derive(Debug)]
pub(crate) enum Gate {
    /// Everything: the connection speaks another protocol.
    Open,
    /// The rest of a request's body.
    Body(Body),
    /// Nothing: the body was not framed as HTTP demands.
    Shut,
}

impl Gate {
    /// The number of these bytes that may be read. Those that cannot be judged yet are to be shown again, with more behind
    /// them.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = match self {
            Self::Open => Ok(bytes.len()),
            Self::Body(body) => body.pass(bytes),
            Self::Shut => Err(Malformed),
        };
        passed.map_err(|Malformed| {
            *self = Self::Shut;
            io::ErrorKind::InvalidData.into()
        })
    }

    /// The request has ended.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Body(body) if body.is_done())
    }
}

/// The error of a session's read comes from a gate that was shut.
pub(crate) fn is_malformed(error: &pingora::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::RequestFraming;

    #[test]
    fn a_gate_that_was_shut_stays_so() {
        let mut gate = Gate::Body(RequestFraming::Chunked.body());
        assert_eq!(gate.pass(b"5\r\nhello\r\n").ok(), Some(10));
        assert_eq!(gate.pass(b"\r\n").map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
        assert_eq!(gate.pass(b"0\r\n\r\n").map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
        assert!(!gate.is_done());
    }

    #[test]
    fn a_request_ends_and_a_tunnel_does_not() {
        let mut body = Gate::Body(RequestFraming::Length(3).body());
        assert_eq!((body.pass(b"abcd").ok(), body.is_done()), (Some(3), true));
        assert_eq!(body.pass(b"d").ok(), Some(0));
        assert_eq!((Gate::Open.pass(b"abcd").ok(), Gate::Open.is_done()), (Some(4), false));
    }
}
