//! The account of a key: what it may use, and what it has used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bucket::{Bucket, PARTS};
use super::demand::{Demand, LimitShare, Part};
use crate::config::ApiKey;

/// The advice to a client whose requests are all under way: nobody knows when the first of them ends.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// A limit of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Requests,
    Tokens,
    InFlight,
}

impl Limit {
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::InFlight];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InFlight => "in_flight",
        }
    }
}

/// One limit a minute, as clients are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub remaining: u64,
    /// The time until all of it is there again. Where several gateways share the limit, `remaining` and this are as it stands here
    /// for the part that this one has, told for all of it.
    pub reset: Duration,
}

impl Quota {
    fn of(bucket: &Bucket) -> Self {
        Self { limit: bucket.limit(), remaining: bucket.left(), reset: bucket.until_full() }
    }
}

/// The rest of a key's limits at the time of a request, that one counted. `None`: there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub requests: Option<Quota>,
    pub tokens: Option<Quota>,
}

/// A request that a limit refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The one that takes longest to pass.
    pub limit: Limit,
    /// The time until the next request would pass.
    pub wait: Duration,
    pub standing: Standing,
}

/// The sum of what a key has used since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests that have ended, by the first digit of their status: 1xx to 5xx. Those that were refused are among them.
    pub requests: [u64; 5],
    /// Of prompts, and of answers.
    pub tokens: [u64; 2],
    /// Requests that a limit has refused, in the order of [`Limit::ALL`].
    pub limited: [u64; 3],
}

impl Used {
    pub(super) fn add(&mut self, other: &Self) {
        let sum = |into: &mut [u64], more: &[u64]| {
            into.iter_mut().zip(more).for_each(|(into, more)| *into = into.saturating_add(*more));
        };
        sum(&mut self.requests, &other.requests);
        sum(&mut self.tokens, &other.tokens);
        sum(&mut self.limited, &other.limited);
    }
}

/// The account of one key. Each of its requests goes through one lock, so that limits are exact however many come at once.
#[derive(Debug)]
pub struct Account(Mutex<State>);

#[derive(Debug)]
struct State {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    max_in_flight: Option<u32>,
    in_flight: u32,
    used: Used,
    /// `None`: no other gateway shares the limits.
    shared: Option<Box<SharedState>>,
}

#[derive(Debug)]
struct SharedState {
    /// Of `max_in_flight`.
    held: u32,
    /// In the order of [`Limit::ALL`].
    demands: [Demand; 3],
}

impl Account {
    pub fn new(key: &ApiKey, now: Instant) -> Self {
        let bucket = |limit: Option<u64>| limit.map(|limit| Bucket::full(limit, now));
        Self(Mutex::new(State {
            requests: bucket(key.requests_per_minute),
            tokens: bucket(key.tokens_per_minute),
            max_in_flight: key.max_in_flight,
            in_flight: 0,
            used: Used::default(),
            shared: None,
        }))
    }

    /// Other gateways share its limits from now on, or no more. In the beginning nothing of them is here, but for debts.
    pub fn join(&self, in_cluster: bool, now: Instant) {
        let mut state = self.0.lock();
        if state.shared.is_some() == in_cluster {
            return;
        }
        let parts = if in_cluster { 0 } else { PARTS };
        for bucket in state.buckets() {
            let debt = bucket.share(0, 0, now).min(0);
            bucket.share(parts, debt, now);
        }
        let shared = || Box::new(SharedState { held: 0, demands: [Demand::new(now); 3] });
        state.shared = in_cluster.then(shared);
    }

    /// Its limits as an exchange of credits sees them. To be called by that alone: what has been used is averaged from one call to
    /// the next.
    pub fn shares(&self, now: Instant) -> Vec<(Limit, LimitShare)> {
        let mut state = self.0.lock();
        state.fill(now);
        let Some(shared) = &mut state.shared else { return Vec::new() };
        shared.demands.iter_mut().for_each(|demand| demand.look(now));
        Limit::ALL.into_iter().filter_map(|limit| Some((limit, state.share(limit)?))).collect()
    }

    /// Has this part of a limit from now on. Returns what it really holds, and the level of what it has given up.
    pub fn credit(&self, limit: Limit, part: Part, now: Instant) -> Part {
        let mut state = self.0.lock();
        let Some(bucket) = state.bucket(limit) else {
            let in_flight = state.in_flight;
            let Some(shared) = &mut state.shared else { return Part::default() };
            shared.held = part.held;
            return Part { held: part.held.max(in_flight), level: None };
        };
        bucket.fill(now);
        if part.level.is_none() && bucket.is_in_debt() && part.held < bucket.parts() {
            return Part { held: bucket.parts(), level: None };
        }
        let level = bucket.share(part.held, part.level.unwrap_or(0), now);
        Part { held: bucket.parts(), level: part.level.map(|_| level) }
    }

    /// Takes over the limits of the file.
    pub fn configure(&self, key: &ApiKey, now: Instant) {
        let mut state = self.0.lock();
        let is_shared = state.shared.is_some();
        set(&mut state.requests, key.requests_per_minute, is_shared, now);
        set(&mut state.tokens, key.tokens_per_minute, is_shared, now);
        state.max_in_flight = key.max_in_flight;
    }

    /// Counts a request, if no limit refuses it.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<(Slot, Standing), Limited> {
        let mut state = self.0.lock();
        state.fill(now);
        if let Some((limit, wait)) = state.obstacle() {
            state.used.limited[limit as usize] += 1;
            state.demand(limit).iter_mut().for_each(|demand| demand.refuse());
            return Err(Limited { limit, wait, standing: state.standing() });
        }
        if let Some(bucket) = &mut state.requests {
            bucket.take(1);
        }
        state.demand(Limit::Requests).iter_mut().for_each(|demand| demand.take(1));
        state.in_flight += 1;
        Ok((Slot(Arc::clone(self)), state.standing()))
    }

    /// The rest at this time.
    pub fn standing(&self, now: Instant) -> Standing {
        let mut state = self.0.lock();
        state.fill(now);
        state.standing()
    }

    /// Counts a request that has ended: its status, and the tokens that it has used, which may make a debt.
    pub fn ended(&self, status: u16, tokens: [u64; 2], now: Instant) {
        let mut state = self.0.lock();
        let place = usize::from(status / 100).clamp(1, 5) - 1;
        let sum = tokens[0].saturating_add(tokens[1]);
        let used = Used { tokens, ..Used::default() };
        state.used.add(&used);
        state.used.requests[place] += 1;
        if let Some(bucket) = &mut state.tokens {
            bucket.fill(now);
            bucket.take(sum);
        }
        state.demand(Limit::Tokens).iter_mut().for_each(|demand| demand.take(sum));
    }

    /// Requests in flight, and what was used.
    pub fn used(&self) -> (u32, Used) {
        let state = self.0.lock();
        (state.in_flight, state.used)
    }
}

fn set(bucket: &mut Option<Bucket>, limit: Option<u64>, is_shared: bool, now: Instant) {
    let new = if is_shared { Bucket::without_parts } else { Bucket::full };
    match (bucket.as_mut(), limit) {
        (Some(bucket), Some(limit)) => bucket.set(limit, now),
        (_, limit) => *bucket = limit.map(|limit| new(limit, now)),
    }
}

impl State {
    fn fill(&mut self, now: Instant) {
        self.buckets().for_each(|bucket| bucket.fill(now));
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.requests.iter_mut().chain(&mut self.tokens)
    }

    fn bucket(&mut self, limit: Limit) -> Option<&mut Bucket> {
        match limit {
            Limit::Requests => self.requests.as_mut(),
            Limit::Tokens => self.tokens.as_mut(),
            Limit::InFlight => None,
        }
    }

    /// The demand for a limit, where it is shared.
    fn demand(&mut self, limit: Limit) -> Option<&mut Demand> {
        self.shared.as_mut().map(|shared| &mut shared.demands[limit as usize])
    }

    /// The most requests that may be in flight from here.
    fn most_in_flight(&self) -> Option<u32> {
        let max = self.max_in_flight?;
        Some(self.shared.as_ref().map_or(max, |shared| max.min(shared.held)))
    }

    /// `None`: there is no such limit.
    fn share(&mut self, limit: Limit) -> Option<LimitShare> {
        let demand = *self.demand(limit)?;
        let waiting = demand.refusals();
        let Some(bucket) = self.bucket(limit) else {
            let cap = self.max_in_flight.filter(|_| limit == Limit::InFlight)?;
            let held = self.shared.as_ref().map_or(0, |shared| shared.held).max(self.in_flight);
            return Some(LimitShare { cap, held, in_use: self.in_flight, waiting });
        };
        let thousandths =
            |rate: f64| (rate * f64::from(PARTS) / bucket.limit().max(1) as f64 - 0.5).ceil() as u32;
        let used = thousandths(demand.rate()).min(PARTS);
        let held = bucket.parts();
        // parts in debt are at work, and a few more would not be idle
        let (busy, least) = if bucket.is_in_debt() { (used.max(held), PARTS / 100) } else { (used, 0) };
        if waiting == 0 {
            return Some(LimitShare { cap: PARTS, held, in_use: busy, waiting: least });
        }
        // what is here is not enough; nobody knows how much would be: twice as much, until it is
        let in_use = used.max(held);
        let more = in_use.max(thousandths(f64::from(waiting))).max(PARTS / 100);
        Some(LimitShare { cap: PARTS, held, in_use, waiting: more.min(PARTS) })
    }

    /// The limit that refuses the next request, and for how long.
    fn obstacle(&self) -> Option<(Limit, Duration)> {
        let wait = |bucket: &Option<Bucket>| bucket.as_ref().map(Bucket::until_one).unwrap_or_default();
        let is_busy = self.most_in_flight().is_some_and(|limit| self.in_flight >= limit);
        let waits = [
            (Limit::InFlight, if is_busy { BUSY_WAIT } else { Duration::ZERO }),
            (Limit::Requests, wait(&self.requests)),
            (Limit::Tokens, wait(&self.tokens)),
        ];
        waits.into_iter().filter(|(_, wait)| !wait.is_zero()).max_by_key(|(_, wait)| *wait)
    }

    fn standing(&self) -> Standing {
        let quota = |bucket: &Option<Bucket>| bucket.as_ref().map(Quota::of);
        Standing { requests: quota(&self.requests), tokens: quota(&self.tokens) }
    }
}

/// A request in flight. Its place is given back when this goes, whatever ends the request.
#[derive(Debug)]
pub struct Slot(Arc<Account>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }
}
