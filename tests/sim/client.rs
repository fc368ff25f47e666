//! A client and its request: the mirror of what the gateway's adapter knows of it.

use std::time::{Duration, Instant};

use evenkeel::fleet::{Charge, Key, Lease};
use evenkeel::outcome::Outcome;
use evenkeel::retry::{Deaths, Facts};
use event_listener::EventListener;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    pub streams: bool,
    /// Every node answers 500.
    pub poison: bool,
    /// Every node answers 400.
    pub bad: bool,
}

/// One client: it has one request at a time.
#[derive(Debug, Default)]
pub struct Client {
    /// Of the request; an event for an older one is void.
    pub number: u64,
    /// Of the attempt, likewise.
    pub serial: u64,
    pub started: f64,
    pub work: f64,
    pub nature: Nature,
    pub lease: Option<Lease>,
    pub node: usize,
    /// Ejections of the node when the attempt began.
    pub epoch: u64,
    pub status: Option<u16>,
    pub began: bool,
    pub tried: Vec<Key>,
    /// Nodes that it was sent to, or that refused it, in all rounds.
    pub seen: Vec<usize>,
    pub sent: u32,
    pub refused: u32,
    pub sent_at: Option<Instant>,
    pub deaths: Deaths,
    pub suspects: Vec<Charge>,
    pub held: Option<u16>,
    pub waits: Option<Wait>,
    pub pauses: bool,
    pub queued: Duration,
    pub stranded: Option<Instant>,
}

#[derive(Debug)]
pub struct Wait {
    pub began: Instant,
    pub deadline: Instant,
    pub listener: EventListener,
}

impl Client {
    /// The next request.
    pub fn renew(&mut self, now: f64, work: f64, nature: Nature) {
        let (number, serial) = (self.number + 1, self.serial);
        *self = Self { number, serial, started: now, work, nature, ..Self::default() };
    }

    pub fn facts(&self, outcome: Outcome, now: Instant) -> Facts {
        let deaths = match &self.lease {
            Some(lease) if outcome.is_death() => self.deaths_with(lease, now),
            _ => self.deaths,
        };
        Facts { outcome, status: self.status, sent: self.sent, deaths: deaths.count(), repeatable: true }
    }

    fn deaths_with(&self, lease: &Lease, now: Instant) -> Deaths {
        let died = lease.died_at(now);
        let at_work = self.sent_at.map_or(Duration::ZERO, |at| died.saturating_duration_since(at));
        self.deaths.with(at_work, died, now)
    }

    pub fn note_death(&mut self, lease: &Lease, outcome: Outcome, now: Instant) {
        if outcome.is_death() {
            self.deaths = self.deaths_with(lease, now);
        }
    }
}
