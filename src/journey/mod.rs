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

mod attempt;
mod end;
mod ending;
mod seek;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use attempt::{Answered, Attempt, Head};
pub use end::{How, Step};
pub use ending::{Ending, Failure, Tried};
pub use seek::Seek;

use crate::fleet::{Charge, Event, Key, Member};
use crate::resume::{Refused, Story};
use crate::retry::{Deaths, Repeat};

/// One request's way.
#[derive(Debug)]
pub struct Journey<H> {
    member: Member,
    /// A POST makes a node work. How fast a list of models comes says nothing of the engine.
    is_work: bool,
    repeat: Repeat,
    /// Nodes that had their try, in the order of their last tries.
    tried: Vec<Key>,
    /// Times that it was sent; each part of a resumed stream is counted anew.
    sent: u32,
    deaths: Deaths,
    /// Failures charged to nodes that may be the request's own fault.
    suspects: Vec<Charge>,
    search: seek::Search,
    /// The last failed response, in case no better one comes.
    fallback: Option<H>,
    client: ClientHas,
    records: Vec<Tried>,
    note: Option<&'static str>,
    events: Vec<Event>,
}

/// What has gone to the client.
#[derive(Debug)]
enum ClientHas {
    Nothing,
    /// At least the head.
    Part(Continuity),
}

/// Whether another node can go on with a response that breaks off.
#[derive(Debug)]
pub enum Continuity {
    /// Nobody asked for it.
    Never,
    No(Refused),
    Possible(Box<Continued>),
}

/// A stream that can be continued.
#[derive(Debug)]
pub struct Continued {
    story: Story,
    /// How the client's stream ends if nobody goes on, once it has broken off.
    closing_event: Bytes,
}

impl Continuity {
    /// From the stream's beginning on: what the client will have heard of it, or why it cannot be told further.
    pub fn of(story: Result<Story, Refused>) -> Self {
        match story {
            Ok(story) => Self::Possible(Box::new(Continued { story, closing_event: Bytes::new() })),
            Err(why) => Self::No(why),
        }
    }
}

impl<H> Journey<H> {
    pub fn new(member: Member, is_work: bool, repeat: Repeat) -> Self {
        Self {
            member,
            is_work,
            repeat,
            tried: Vec::new(),
            sent: 0,
            deaths: Deaths::default(),
            suspects: Vec::new(),
            search: seek::Search::default(),
            fallback: None,
            client: ClientHas::Nothing,
            records: Vec::new(),
            note: None,
            events: Vec::new(),
        }
    }

    /// The pool, with the settings of the generation that the request keeps.
    pub fn member(&self) -> &Member {
        &self.member
    }

    pub fn repeat(&self) -> Repeat {
        self.repeat
    }

    /// Whether the client has a part of the response, and another node than the first goes on with it.
    pub fn is_continuing(&self) -> bool {
        self.story().is_some_and(Story::is_continued)
    }

    /// Whether its body may still have to be sent to a node.
    pub fn needs_body(&self) -> bool {
        match &self.client {
            ClientHas::Nothing => true,
            ClientHas::Part(Continuity::Possible(continued)) => continued.story.lost().is_none(),
            ClientHas::Part(_) => false,
        }
    }

    pub fn has_begun(&self) -> bool {
        matches!(self.client, ClientHas::Part(_))
    }

    fn story(&self) -> Option<&Story> {
        match &self.client {
            ClientHas::Part(Continuity::Possible(continued)) => Some(&continued.story),
            _ => None,
        }
    }

    /// What the client has heard of a stream that can be continued.
    pub fn story_mut(&mut self) -> Option<&mut Story> {
        match &mut self.client {
            ClientHas::Part(Continuity::Possible(continued)) => Some(&mut continued.story),
            _ => None,
        }
    }

    /// The head goes to the client: from here on the request is never repeated, only continued.
    pub fn begin(&mut self, continuity: Continuity) {
        if let ClientHas::Nothing = self.client {
            self.client = ClientHas::Part(continuity);
            self.fallback = None;
        }
    }

    /// Goes on in another generation's pool, where it has tried no node.
    pub fn reroute(&mut self, member: Member, repeat: Repeat) {
        self.member = member;
        self.repeat = repeat;
        self.tried.clear();
        self.suspects.clear();
    }

    /// How many nodes were asked, with the one under way.
    pub fn attempts(&self) -> usize {
        self.records.len() + 1
    }

    /// Why it ended as it did, where the status does not say it.
    pub fn note(&self) -> Option<&'static str> {
        self.note
    }

    /// Each attempt that has ended, for the log.
    pub fn take_records(&mut self) -> Vec<Tried> {
        std::mem::take(&mut self.records)
    }

    /// How long it was without a node.
    pub fn queued(&self) -> Duration {
        self.search.queued
    }

    /// What has happened to nodes since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Nodes that it has been sent to, or that refused it.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    pub fn deaths(&self) -> u32 {
        self.deaths.count()
    }

    fn record(&mut self, node: &Arc<str>, status: Option<u16>, outcome: crate::outcome::Outcome) {
        self.records.push(Tried { node: Arc::clone(node), status, outcome });
    }

    /// A node serves the request: if two have answered it with 5xx, it was the nodes after all. Known when its head is
    /// there, for the end may be hours away.
    fn served(&mut self, now: Instant) {
        if self.suspects.len() > 1 {
            let again =
                self.suspects.drain(..).filter_map(|charge| self.member.pool.charge_again(charge, now));
            self.events.extend(again);
        }
    }

    /// It may be the request: a 5xx that a second node gives too is withdrawn from both.
    fn suspect(&mut self, charge: Option<Charge>, now: Instant) {
        let Some(charge) = charge else { return };
        self.suspects.push(charge);
        if self.suspects.iter().any(|suspect| suspect.node() != charge.node()) {
            let withdrawn =
                self.suspects.iter().filter_map(|suspect| self.member.pool.take_back(*suspect, now));
            self.events.extend(withdrawn);
        }
    }
}
