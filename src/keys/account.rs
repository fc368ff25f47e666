//! The account of a key: what it may use, and what it has used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bucket::Bucket;
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
    /// The time until all of it is there again.
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
        }))
    }

    /// Takes over the limits of the file.
    pub fn configure(&self, key: &ApiKey, now: Instant) {
        let mut state = self.0.lock();
        set(&mut state.requests, key.requests_per_minute, now);
        set(&mut state.tokens, key.tokens_per_minute, now);
        state.max_in_flight = key.max_in_flight;
    }

    /// Counts a request, if no limit refuses it.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<(Slot, Standing), Limited> {
        let mut state = self.0.lock();
        state.fill(now);
        if let Some((limit, wait)) = state.obstacle() {
            state.used.limited[limit as usize] += 1;
            return Err(Limited { limit, wait, standing: state.standing() });
        }
        if let Some(bucket) = &mut state.requests {
            bucket.take(1);
        }
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
        let used = Used { tokens, ..Used::default() };
        state.used.add(&used);
        state.used.requests[place] += 1;
        if let Some(bucket) = &mut state.tokens {
            bucket.fill(now);
            bucket.take(tokens[0].saturating_add(tokens[1]));
        }
    }

    /// Requests in flight, and what was used.
    pub fn used(&self) -> (u32, Used) {
        let state = self.0.lock();
        (state.in_flight, state.used)
    }
}

fn set(bucket: &mut Option<Bucket>, limit: Option<u64>, now: Instant) {
    match (bucket.as_mut(), limit) {
        (Some(bucket), Some(limit)) => bucket.set(limit, now),
        (_, limit) => *bucket = limit.map(|limit| Bucket::full(limit, now)),
    }
}

impl State {
    fn fill(&mut self, now: Instant) {
        self.requests.iter_mut().chain(&mut self.tokens).for_each(|bucket| bucket.fill(now));
    }

    /// The limit that refuses the next request, and for how long.
    fn obstacle(&self) -> Option<(Limit, Duration)> {
        let wait = |bucket: &Option<Bucket>| bucket.as_ref().map(Bucket::until_one).unwrap_or_default();
        let is_busy = self.max_in_flight.is_some_and(|limit| self.in_flight >= limit);
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
