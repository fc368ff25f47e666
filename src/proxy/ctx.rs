//! What the gateway knows of one request while it is under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use pingora::http::ResponseHeader;

use super::headers::Sender;
use super::relay::Held;
use super::reply::Failure;
use crate::access_log::Attempt;
use crate::classify;
use crate::fleet::{Charge, Fleet, Key, Lease, Member, Settled};
use crate::journal::announce;
use crate::live::Share;
use crate::outcome::Outcome;
use crate::resume::{Continuation, Refused, Story};
use crate::retry::{DEATHS_MAX, Deaths, Facts};

/// One request, from its header to its line in the log.
pub struct Ctx {
    pub started: Instant,
    /// Counted as long as this lives.
    pub under_way: Option<Share>,
    /// The generation that the request keeps.
    pub fleet: Arc<Fleet>,
    /// The pool, once it is known.
    pub member: Option<Member>,
    pub sender: Option<Sender>,
    pub request_id: String,
    /// Whether it makes a node work: a POST. How fast a list of models comes says nothing of the engine.
    pub is_work: bool,
    /// Whether a node may see the request twice.
    pub repeatable: bool,
    /// The whole body, if it is kept, until a response has begun: empty then. `None` on Pingora's own path.
    pub body: Option<Bytes>,
    /// What was read of a body that turned out to be too large to keep.
    pub unkept: Option<Bytes>,
    pub body_share: Option<Share>,
    /// Bytes of body that went through on Pingora's own path.
    pub passed: u64,
    pub lease: Option<Lease>,
    /// Status of the attempt under way, once its head is there.
    pub status: Option<u16>,
    pub attempts: Vec<Attempt>,
    /// Nodes that had their try, in the order of their last tries.
    pub tried: Vec<Key>,
    pub sent: u32,
    /// Since when it has reached no node, though it has tried all that could be used.
    pub stranded: Option<Instant>,
    /// The node under way closed a kept-alive connection on which the request had just been sent.
    was_stale: bool,
    /// A stream has begun with nothing but its head, which says little: the server in front of an engine that hangs sends
    /// that too. What counts as its good head is the first that follows.
    pub head_alone: bool,
    /// On Pingora's own path: something of the response's body has come.
    pub has_begun: bool,
    /// When it was sent the last time.
    pub sent_at: Option<Instant>,
    pub deaths: Deaths,
    /// 5xx that may be the request's own fault.
    suspects: Vec<Charge>,
    /// The last failed response, in case no better one comes.
    pub held: Option<Held>,
    /// What the client has got of a stream that may be continued.
    pub story: Option<Story>,
    /// Why it cannot be, from its beginning.
    pub refused: Option<Refused>,
    /// The client has got a part of a response that broke off.
    pub broke_off: bool,
    /// What the client gets then at the end of that part, if nobody goes on.
    pub farewell: Bytes,
    pub failure: Option<Failure>,
    pub client_gone: bool,
    pub ttft: Option<Duration>,
    pub queued: Duration,
    pub note: Option<&'static str>,
    /// What the client has got without Pingora's session, which therefore knows nothing of it.
    pub answered: Option<Answered>,
    /// The rest of its response goes on without the session, and knows the request now.
    pub handed_over: bool,
}

/// A response's status, and the bytes of its body that have gone out.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub status: u16,
    pub sent: u64,
}

impl Ctx {
    /// What stays with a session whose response goes on without it.
    pub fn handed_over(fleet: Arc<Fleet>) -> Self {
        Self { handed_over: true, ..Self::new(fleet) }
    }

    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            started: Instant::now(),
            under_way: None,
            fleet,
            member: None,
            sender: None,
            request_id: String::new(),
            is_work: false,
            repeatable: false,
            body: None,
            unkept: None,
            body_share: None,
            passed: 0,
            lease: None,
            status: None,
            attempts: Vec::new(),
            tried: Vec::new(),
            sent: 0,
            stranded: None,
            was_stale: false,
            head_alone: false,
            has_begun: false,
            sent_at: None,
            deaths: Deaths::default(),
            suspects: Vec::new(),
            held: None,
            story: None,
            refused: None,
            broke_off: false,
            farewell: Bytes::new(),
            failure: None,
            client_gone: false,
            ttft: None,
            queued: Duration::ZERO,
            note: None,
            answered: None,
            handed_over: false,
        }
    }

    /// The facts for the retry decision after an attempt with this outcome, as they are `now`.
    pub fn facts(&self, outcome: Outcome, now: Instant) -> Facts {
        let deaths = match &self.lease {
            Some(lease) if outcome.is_death() => self.deaths_with(lease, now),
            _ => self.deaths,
        };
        Facts {
            outcome,
            status: self.status,
            sent: self.sent,
            deaths: deaths.count(),
            repeatable: self.repeatable,
        }
    }

    /// Whether the client has got a part of the response, and another node goes on with it.
    pub fn is_continuing(&self) -> bool {
        self.story.as_ref().is_some_and(Story::is_continued)
    }

    /// How the response goes on that broke off; or why not, if that was asked for. The attempts are counted anew: each
    /// part of a stream is a request of its own.
    pub fn go_on(&mut self) -> Result<Continuation, Option<Refused>> {
        let story = self.story.as_mut().ok_or(self.refused)?;
        if self.deaths.count() >= DEATHS_MAX {
            return Err(Some(Refused::KillsNodes));
        }
        let next = story.go_on().map_err(Some)?;
        self.held = None;
        self.sent = 0;
        Ok(next)
    }

    /// Goes on in another generation and pool, where it has tried no node.
    pub fn move_to(&mut self, fleet: Arc<Fleet>, member: Member) {
        self.fleet = fleet;
        self.member = Some(member);
        self.tried.clear();
        self.suspects.clear();
    }

    /// What an attempt's outcome means for the request. A connection that was only stale is followed by one that works:
    /// a node that then takes none has died with the request in its hands, and perhaps of it. Without this, one request
    /// that kills its node at once would go from node to node until none is left.
    pub fn reconsider(&mut self, outcome: Outcome) -> Outcome {
        if !self.died_at_once(outcome) {
            return outcome;
        }
        self.sent += 1;
        Outcome::Reset
    }

    fn died_at_once(&self, outcome: Outcome) -> bool {
        self.was_stale && outcome == Outcome::Connect
    }

    /// With that of the node under way.
    fn deaths_with(&self, lease: &Lease, now: Instant) -> Deaths {
        let died = lease.died_at(now);
        let at_work = self.sent_at.map_or(Duration::ZERO, |at| died.saturating_duration_since(at));
        self.deaths.with(at_work, died, now)
    }

    /// The node answered well.
    pub fn good_head(&mut self, code: u16) {
        let now = Instant::now();
        if let Some(lease) = &self.lease {
            lease.good_head(now).iter().for_each(announce);
            // a 4xx acquits nobody: the node may have looked at the request sooner than the others
            if code < 400 {
                self.served(now);
            }
        }
    }

    /// The node has sent something of its response.
    pub fn progress(&mut self, now: Instant) {
        if let Some(lease) = &self.lease {
            lease.progress(now);
        }
        if std::mem::take(&mut self.head_alone) {
            self.good_head(self.status.unwrap_or_default());
        }
    }

    /// The node has made so many tokens more of a good answer.
    pub fn worked(&mut self, tokens: u64, now: Instant) {
        if let Some(lease) = self.lease.as_mut().filter(|_| tokens > 0) {
            lease.worked(tokens, now);
        }
    }

    /// Resolves when the node under way is found stalled. What the client has seen nothing of then goes to another.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let is_watched = self.member.as_ref().is_some_and(|member| member.conf.timeouts.stall.is_some());
        let given_up = self.lease.as_ref().filter(|_| is_watched).map(Lease::given_up);
        async move {
            match given_up {
                Some(given_up) => given_up.await,
                None => std::future::pending().await,
            }
        }
    }

    /// The node said that it is full, in its status or in the first event of its stream.
    pub fn busy(&self, head: &ResponseHeader) {
        let after = head.headers.get(RETRY_AFTER).and_then(|value| classify::retry_after(value.as_bytes()));
        if let Some(lease) = &self.lease {
            lease.busy(after, Instant::now());
        }
    }

    /// Ends the attempt under way: its outcome goes to the node's health and into the log, its slot goes back.
    pub fn settle(&mut self, outcome: Outcome, now: Instant) {
        let Some(mut lease) = self.lease.take() else { return };
        let is_good = outcome == Outcome::Ok && self.status.is_some_and(|code| (200..300).contains(&code));
        if is_good && self.is_work {
            lease.answered(now);
        }
        self.record(&lease, outcome);
        self.tried.retain(|key| *key != lease.key());
        self.tried.push(lease.key());
        if outcome != Outcome::Connect {
            self.stranded = None;
        }
        if outcome.is_death() || self.died_at_once(outcome) {
            self.deaths = self.deaths_with(&lease, now);
        }
        self.was_stale = false;
        self.head_alone = false;
        let Settled { event, charge, .. } = lease.settle(outcome, now);
        event.iter().for_each(announce);
        // before the first event an error is as good as a 5xx
        let says_broken = outcome == Outcome::Http5xx || outcome == Outcome::EngineError && !self.broke_off;
        if says_broken {
            self.suspect(charge, now);
        }
        self.status = None;
    }

    /// A kept-alive connection turned out to be closed: the node keeps its lease and gets another try.
    pub fn note_stale(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.count(Outcome::Stale);
            self.record(&lease, Outcome::Stale);
            self.lease = Some(lease);
            self.was_stale = true;
        }
    }

    fn record(&mut self, lease: &Lease, outcome: Outcome) {
        let node = Arc::clone(&lease.node().name);
        self.attempts.push(Attempt { node, status: self.status, outcome });
    }

    /// It may be the request: a 5xx that a second node gives too is taken back from both.
    fn suspect(&mut self, charge: Option<Charge>, now: Instant) {
        let (Some(member), Some(charge)) = (&self.member, charge) else { return };
        self.suspects.push(charge);
        if self.suspects.iter().any(|suspect| suspect.node() != charge.node()) {
            let taken = self.suspects.iter().filter_map(|suspect| member.pool.take_back(*suspect, now));
            taken.for_each(|event| announce(&event));
        }
    }

    /// A node serves the request: if two have answered it with 5xx, it was the nodes after all. To be called when its
    /// head is there; the end may be hours away.
    pub fn served(&mut self, now: Instant) {
        let Some(member) = self.member.as_ref().filter(|_| self.suspects.len() > 1) else { return };
        let again = self.suspects.drain(..).filter_map(|suspect| member.pool.charge_again(suspect, now));
        again.for_each(|event| announce(&event));
    }

    /// Of the attempt under way; empty without one.
    pub fn node_name(&self) -> Arc<str> {
        self.lease.as_ref().map(|lease| Arc::clone(&lease.node().name)).unwrap_or_default()
    }

    /// How many nodes were asked, for the response header.
    pub fn attempts_so_far(&self) -> usize {
        self.attempts.len() + usize::from(self.lease.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn ctx() -> Ctx {
        let text = "server: { listen: 127.0.0.1:1 }\npools: { p: { nodes: [127.0.0.1:2, 127.0.0.1:3] } }";
        let config = Config::parse(text, "a test").expect("a valid config");
        let fleet = Arc::new(Fleet::first(config, Instant::now()));
        let member = fleet.pools.first().expect("a pool").clone();
        let lease = member.pool.lease(&[], Instant::now()).expect("a node");
        Ctx { lease: Some(lease), ..Ctx::new(fleet) }
    }

    #[test]
    fn a_stale_connection_and_then_a_refused_one_are_a_death() {
        let mut ctx = ctx();
        ctx.note_stale();
        let judged = ctx.reconsider(Outcome::Connect);
        assert_eq!(judged, Outcome::Reset);
        let now = Instant::now();
        let facts = ctx.facts(judged, now);
        assert_eq!((facts.sent, facts.deaths), (1, 1));
        ctx.settle(Outcome::Connect, now);
        assert_eq!((ctx.sent, ctx.deaths.count()), (1, 1));
        assert_eq!(ctx.reconsider(Outcome::Connect), Outcome::Connect, "it was another node");
    }

    /// A gateway that is told of thousands of deaths at once hears of its own requests' later.
    #[test]
    fn a_node_died_when_that_was_first_seen() {
        let mut ctx = ctx();
        let pool = Arc::clone(&ctx.fleet.pools.first().expect("a pool").pool);
        let now = Instant::now();
        let ago = |millis| now.checked_sub(Duration::from_millis(millis)).expect("the clock has run");
        ctx.deaths = Deaths::default().with(Duration::ZERO, ago(2000), ago(2000));
        assert_eq!(ctx.facts(Outcome::Reset, now).deaths, 2);
        let node = ctx.lease.as_ref().map(Lease::key).expect("a lease");
        let other = pool.lease(&[node], ago(1900)).expect("the other node").key();
        for millis in [1900, 1100, 300] {
            assert_eq!(ctx.facts(Outcome::Reset, now).deaths, 2, "not seen in the last second");
            pool.lease(&[other], ago(millis)).expect("the same node").settle(Outcome::Reset, ago(millis));
        }
        assert_eq!(ctx.facts(Outcome::Reset, now).deaths, 1, "both began to die within a second");
        ctx.settle(Outcome::Reset, now);
        assert_eq!(ctx.deaths.count(), 1);
    }

    #[test]
    fn a_refused_connection_alone_is_none() {
        let mut ctx = ctx();
        assert_eq!(ctx.reconsider(Outcome::Connect), Outcome::Connect);
        ctx.settle(Outcome::Connect, Instant::now());
        assert_eq!((ctx.sent, ctx.deaths.count()), (0, 0));
    }
}
