//! The gate between a connection and the session that reads one request from it.
//!
//! Pingora's session decodes a body less strictly than RFC 9112 has it (section 7.1: httparse takes a size without digits for 0,
//! and skips a bare LF in an extension). So it gets only bytes that have passed, and none after the request's end.

use std::io;

use bytes::Bytes;

use crate::http1::{Body, Malformed};

/// The bytes that may be read at present.
#[derive(Debug)]
pub(crate) enum Gate {
    /// Everything: the connection speaks another protocol.
    Open,
    /// The rest of a request's body.
    Body(Body),
    /// Nothing: the rest of the body is taken out of its coding in front of it.
    Taken(Body),
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
            Self::Taken(_) => Ok(0),
            Self::Shut => Err(Malformed),
        };
        passed.map_err(|Malformed| {
            *self = Self::Shut;
            io::ErrorKind::InvalidData.into()
        })
    }

    /// From now on nothing passes: the rest of the body is for [`Self::take`].
    pub(crate) fn hold(&mut self) {
        if let Self::Body(body) = std::mem::replace(self, Self::Shut) {
            *self = Self::Taken(body);
        }
    }

    /// Bytes of a body that is held are still to come, or to be taken.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Self::Taken(_))
    }

    /// The next bytes of a body that is held, without its coding. Those that cannot be judged yet stay in `bytes`.
    pub(crate) fn take(&mut self, bytes: &mut Bytes) -> io::Result<Bytes> {
        let taken = match self {
            Self::Taken(body) => body.take(bytes),
            Self::Open | Self::Body(_) | Self::Shut => Err(Malformed),
        };
        taken.map_err(|Malformed| {
            *self = Self::Shut;
            io::ErrorKind::InvalidData.into()
        })
    }

    /// The request has ended.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Body(body) | Self::Taken(body) if body.is_done())
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

    #[test]
    fn the_rest_of_a_body_is_taken_from_where_it_passed() {
        let mut gate = Gate::Body(RequestFraming::Chunked.body());
        assert_eq!(gate.pass(b"5\r\nhe").ok(), Some(5));
        gate.hold();
        assert_eq!((gate.pass(b"llo").ok(), gate.is_held()), (Some(0), true));
        let mut rest = Bytes::from_static(b"llo\r\n1\r\n!\r\n0\r\n\r\nGET /");
        assert_eq!(gate.take(&mut rest).ok().as_deref(), Some(&b"llo!"[..]));
        assert_eq!((&*rest, gate.is_done()), (&b"GET /"[..], true));
        let mut gate = Gate::Body(RequestFraming::Chunked.body());
        gate.hold();
        for _ in 0..2 {
            let taken = gate.take(&mut Bytes::from_static(b"\r\n"));
            assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
        }
    }
}
