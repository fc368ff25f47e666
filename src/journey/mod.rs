//! A request's way from node to node, until its client has an answer.
//!
//! ```text
//!            seek                     head                      begin
//!   Seeking ------> Attempt: Leased -> Sent -> Headed -> (the client has a part) -> end: Stop(Whole)
//!      ^  |                   \________________________/                  |
//!      |  +-> Pause, Wait: later         | end: Node, Fresh               | end: Continue
//!      |  +-> Give, Stop                 |                                |
//!      +---------------------------------+--------------------------------+
//! ```
//!
//! The journey decides; whoever drives it moves the bytes. It knows no sockets and no clock, so that the relay, Pingora's own
//! path and the simulation run the same one. `H` is a failed response that is held back: the client gets it if no node
//! does better. The simulation has a status code in its place.

mod agree;
mod attempt;
mod continuity;
mod conversation;
mod denial;
mod end;
mod ending;
mod home;
mod overdue;
mod overflow;
mod seek;
mod spill;
mod state;
mod tally;
#[cfg(test)]
mod tests;

pub use attempt::{Answered, Attempt, Head};
pub use continuity::Continuity;
pub use conversation::{Conversation, Recorder};
pub use end::{How, Step};
pub use ending::{CANCELLED, Ending, FINISHED, Failure, Tried};
pub use overflow::Other;
pub use seek::Seek;
pub use state::Journey;
pub use tally::Tally;
