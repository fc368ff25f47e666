//! The client's part of a response, and whether another node can go on with it.

use bytes::Bytes;

use crate::resume::{NotResumable, Transcript};

/// The part of a response that has gone to the client.
#[derive(Debug)]
pub(super) enum ClientHas {
    Nothing,
    /// At least the head.
    Part(Continuity),
}

/// The ways in which another node can go on with a response that breaks off.
#[derive(Debug)]
pub enum Continuity {
    /// Nobody asked for it.
    Never,
    No(NotResumable),
    Possible(Box<Continued>),
}

/// A stream that can be continued.
#[derive(Debug)]
pub struct Continued {
    pub(super) transcript: Transcript,
    /// The end of the client's stream if nobody goes on, once it has broken off.
    pub(super) closing_event: Bytes,
}

impl Continuity {
    /// From the stream's beginning on: what the client will have heard of it, or why it cannot be told further.
    pub fn of(transcript: Result<Transcript, NotResumable>) -> Self {
        match transcript {
            Ok(transcript) => Self::Possible(Box::new(Continued { transcript, closing_event: Bytes::new() })),
            Err(why) => Self::No(why),
        }
    }
}
