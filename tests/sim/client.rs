//! A client and its request, which runs the gateway's own journey.

use std::time::{Duration, Instant};

use evenkeel::fleet::{Changed, Member};
use evenkeel::journey::{Attempt, Journey};
use evenkeel::retry::Repeat;

/// The kind of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nature {
    pub streams: bool,
    /// Every node answers 500.
    pub poison: bool,
    /// Every node answers 400.
    pub bad: bool,
}

/// One client: it has one request at a time.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Of the request; an event for an older one is void.
    pub number: u64,
    /// Of the attempt, likewise.
    pub serial: u64,
    /// Of the look for a node, likewise.
    pub looks: u64,
    pub started: f64,
    pub work: f64,
    pub nature: Nature,
    /// A failed response has the place of its status code.
    pub journey: Option<Journey<u16>>,
    pub attempt: Option<Attempt>,
    pub node: usize,
    /// Ejections of the node when the attempt began.
    pub epoch: u64,
    pub sent_at: Option<Instant>,
    /// Nodes that it was sent to, or that refused it, in all rounds.
    pub seen: Vec<usize>,
    /// Nodes that said they are full.
    pub told: Vec<usize>,
    /// A failed response is held back.
    pub holds: bool,
    pub refused: u32,
    pub waits: Option<Wait>,
    pub pauses: bool,
}

#[derive(Debug)]
pub(crate) struct Wait {
    pub began: f64,
    pub listener: Changed,
}

impl Client {
    /// The next request.
    pub(crate) fn renew(&mut self, now: f64, work: f64, nature: Nature, member: Member) {
        let (number, serial, looks) = (self.number + 1, self.serial, self.looks);
        let journey = Some(Journey::new(member, true, Repeat::Allowed));
        *self = Self { number, serial, looks, started: now, work, nature, journey, ..Self::default() };
    }

    pub(crate) fn journey(&mut self) -> &mut Journey<u16> {
        self.journey.as_mut().expect("a request is under way")
    }

    /// A part of a stream has come.
    pub(crate) fn began(&self) -> bool {
        self.journey.as_ref().is_some_and(Journey::has_begun)
    }

    pub(crate) fn sent(&self) -> u32 {
        self.journey.as_ref().map_or(0, Journey::sent)
    }

    pub(crate) fn deaths(&self) -> u32 {
        self.journey.as_ref().map_or(0, Journey::deaths)
    }

    pub(crate) fn queued(&self) -> Duration {
        self.journey.as_ref().map_or(Duration::ZERO, Journey::queued)
    }
}
