//! The client's part of a response, and whether another node can go on with it.

use bytes::Bytes;

use crate::resume::{NotResumable, Transcript};

/// The part of a response that has gone to the client.
#[derive(Debug)]
pub(super) enum ClientHas {
    Nothing,
    /// The head of a stream that has said nothing yet: the request can be repeated as a whole, and what follows goes under
    /// this head. `None`: no node has answered, the head is the gateway's own.
    Head(Option<Continuity>),
    /// At least the beginning of what the answer says.
    Part(Continuity),
}

impl ClientHas {
    pub(super) fn continuity(&self) -> Option<&Continuity> {
        match self {
            Self::Nothing => None,
            Self::Head(continuity) => continuity.as_ref(),
            Self::Part(continuity) => Some(continuity),
        }
    }

    pub(super) fn continuity_mut(&mut self) -> Option<&mut Continuity> {
        match self {
            Self::Nothing => None,
            Self::Head(continuity) => continuity.as_mut(),
            Self::Part(continuity) => Some(continuity),
        }
    }
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
