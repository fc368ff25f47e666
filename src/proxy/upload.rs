//! A request body that is not kept, on its way from its client to a node: one piece at a time.
//!
//! One task polls both sides. The client's side ([`super::downstream::inlet`]) fills the place between them while the request
//! waits for anything, and the node's side ([`super::upstream::outlet`]) empties it; each wakes the task for the other.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::journey::Failure;
use crate::live::Share;

/// The place between the two sides.
pub(crate) struct Upload(Mutex<State>);

struct State {
    piece: Option<Bytes>,
    /// Of `retry.body_total`, for what was read before the request had a node.
    share: Option<Share>,
    stage: Stage,
    /// The node's side has taken a piece, or wants none.
    has_begun: bool,
    /// The reason that the client's side has for ending the request.
    fault: Option<Failure>,
}

/// The stage of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client has not sent its end.
    Coming,
    /// Nothing follows the piece that is there.
    Read,
    /// The node has all of it.
    Sent,
    /// The node takes no more of it.
    Unwanted,
}

/// The next thing to be sent to the node.
pub(crate) enum Next {
    /// With the share that it has taken up.
    Piece(Bytes, Option<Share>),
    End,
    /// Not yet.
    Nothing,
}

impl Upload {
    /// `start` has been read already.
    pub(crate) fn new(start: Bytes, share: Option<Share>) -> Self {
        let piece = (!start.is_empty()).then_some(start);
        Self(Mutex::new(State { piece, share, stage: Stage::Coming, has_begun: false, fault: None }))
    }

    pub(crate) fn stage(&self) -> Stage {
        self.0.lock().stage
    }

    /// A part of it has gone, or was thrown away: what is left is no request for another node.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.lock().has_begun
    }

    /// There is room for the client's next piece.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.0.lock();
        state.stage == Stage::Coming && state.piece.is_none() && state.fault.is_none()
    }

    /// The client has sent this piece, or its end.
    pub(crate) fn put(&self, piece: Option<Bytes>) {
        let mut state = self.0.lock();
        match piece {
            Some(piece) => state.piece = Some(piece),
            None => state.stage = Stage::Read,
        }
    }

    /// The client's side ends the request for this.
    pub(crate) fn fail(&self, fault: Failure) {
        self.0.lock().fault = Some(fault);
    }

    pub(crate) fn take_fault(&self) -> Option<Failure> {
        self.0.lock().fault.take()
    }

    pub(crate) fn take(&self) -> Next {
        let mut state = self.0.lock();
        match (state.piece.take(), state.stage) {
            (Some(piece), _) => {
                state.has_begun = true;
                Next::Piece(piece, state.share.take())
            }
            (None, Stage::Read) => Next::End,
            (None, _) => Next::Nothing,
        }
    }

    /// The node has it all.
    pub(crate) fn set_sent(&self) {
        self.0.lock().stage = Stage::Sent;
    }

    /// The node takes no more of it: it has refused the request, or closed the connection.
    pub(crate) fn set_unwanted(&self) {
        let mut state = self.0.lock();
        (state.piece, state.share, state.stage) = (None, None, Stage::Unwanted);
        state.has_begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_has_taken_or_thrown_away_is_for_no_other() {
        let upload = Upload::new(Bytes::from_static(b"start"), None);
        assert!(!upload.has_begun());
        assert!(matches!(upload.take(), Next::Piece(..)) && upload.has_begun());
        for start in ["start", ""] {
            let upload = Upload::new(Bytes::from_static(start.as_bytes()), None);
            upload.set_unwanted();
            assert!(upload.has_begun() && matches!(upload.take(), Next::Nothing), "{start}");
        }
    }
}
