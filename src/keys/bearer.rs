//! The sender of a request: the key that it came with, and its place among the key's requests.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;

use super::account::{Limit, Limited, Slot, Standing};
use super::ring::{Key, Keyring};
use super::token::presented;

/// The bearer of a key.
#[derive(Debug)]
pub struct Bearer {
    key: Arc<Key>,
    standing: Standing,
    /// `None`: the request was refused.
    _slot: Option<Slot>,
}

/// A request that is refused for its key.
#[derive(Debug)]
pub struct Denied {
    pub why: Denial,
    /// The bearer, if the key is known.
    pub bearer: Option<Box<Bearer>>,
}

/// The reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    NoKey,
    Unknown,
    Expired,
    /// It would pass after this time.
    Limited {
        limit: Limit,
        wait: Duration,
    },
}

impl Bearer {
    /// Finds out who has sent a request, and counts it. `wall`: the same instant as `now`.
    pub fn of(
        ring: &Keyring,
        headers: &HeaderMap,
        now: Instant,
        wall: impl FnOnce() -> SystemTime,
    ) -> Result<Self, Denied> {
        let unknown = |why| Denied { why, bearer: None };
        let token = presented(headers).ok_or(unknown(Denial::NoKey))?;
        let key = Arc::clone(ring.find(token).ok_or(unknown(Denial::Unknown))?);
        let is_expired = key.conf.expires.is_some() && key.is_expired(wall());
        let denied = |key, standing, why| {
            let bearer = Some(Box::new(Self { key, standing, _slot: None }));
            Err(Denied { why, bearer })
        };
        if is_expired {
            let standing = key.account.standing(now);
            return denied(key, standing, Denial::Expired);
        }
        match key.account.admit(now) {
            Ok((slot, standing)) => Ok(Self { key, standing, _slot: Some(slot) }),
            Err(Limited { limit, wait, standing }) => denied(key, standing, Denial::Limited { limit, wait }),
        }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The rest of the key's limits when the request came.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Counts the end of the request, with the tokens of its prompt and its answer, and gives its place back. The key's name.
    pub fn ended(self, status: u16, tokens: [u64; 2], now: Instant) -> Arc<str> {
        self.key.account.ended(status, tokens, now);
        Arc::clone(self.key.name())
    }
}
