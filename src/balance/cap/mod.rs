//! `max_in_flight: auto`: the cap of a node that does the most work.
//!
//! Streams show directly when too many are in flight, and the cap follows these signs ([`signs`]). Whole answers show nothing
//! until they end: of a node that mostly gives those, the cap is found by trial ([`search`]).

mod reason;
mod round;
mod search;
mod signs;
#[cfg(test)]
mod tests;

pub use reason::{Reason, Side};
pub use round::{CAP_MAX, CAP_MIN, CAP_START, Round, Streams};
use search::Search;
use signs::Held;

/// The answers whose kind counts half of all.
const MEMORY: f64 = 100.0;

/// The cap of one node as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Cap {
    by_search: Search,
    by_signs: Held,
    /// The part of the newest answers that are streams; `None` while there was none.
    streamed: Option<f64>,
}

impl Cap {
    /// The most requests in flight now; [`CAP_MIN`] to [`CAP_MAX`].
    pub fn now(&self) -> u32 {
        if self.streams() { self.by_signs.now() } else { self.by_search.now() }
    }

    pub fn reason(&self) -> Reason {
        if self.streams() { self.by_signs.reason() } else { self.by_search.reason() }
    }

    /// Most answers are streams.
    fn streams(&self) -> bool {
        self.streamed.is_some_and(|part| part >= 0.5)
    }

    /// The node was away or has changed: what was seen at this cap does not go on.
    pub fn interrupt(&mut self) {
        self.by_search.interrupt();
        self.by_signs.interrupt();
    }

    /// Takes in a round. Call it at regular intervals while the node has all of its share.
    pub fn round(&mut self, round: Round) {
        if !round.is_sound() {
            return;
        }
        let all = round.streams.begun + round.streams.wholes;
        if all > 0.0 {
            let newest = round.streams.begun / all;
            let part = all / (all + MEMORY);
            self.streamed = Some(self.streamed.map_or(newest, |before| before + part * (newest - before)));
        }
        if self.streams() {
            self.by_signs.round(&round);
        } else {
            self.by_search.round(&round);
        }
    }
}
