//! All keys of one reading of the file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::account::{Account, Used};
use super::share::{self, KeyShare};
use super::token;
use crate::config::{ApiKey, Class};

/// The name under which keys are summed up that are too many to be shown one by one; no key can have it.
pub const REST: &str = "(other)";

/// The keys of one reading of the file, with the accounts that they have had before.
#[derive(Debug, Default)]
pub struct Keyring {
    /// In the order of the file.
    keys: Vec<Arc<Key>>,
    by_hash: HashMap<[u8; 32], usize>,
    /// Other gateways share the limits.
    in_cluster: bool,
}

/// A key, and its account.
#[derive(Debug)]
pub struct Key {
    pub conf: ApiKey,
    pub account: Arc<Account>,
}

/// The use of a key, for views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub name: Arc<str>,
    pub in_flight: u64,
    pub used: Used,
}

impl Keyring {
    /// The next reading. Keys that stay, by name, keep their accounts; new limits hold at once.
    pub fn next(&self, keys: Vec<ApiKey>, now: Instant) -> Self {
        let old: HashMap<_, _> = self.keys.iter().map(|key| (&key.conf.name, &key.account)).collect();
        let account = |conf: &ApiKey| match old.get(&conf.name) {
            Some(account) => {
                account.configure(conf, now);
                Arc::clone(account)
            }
            None => {
                let account = Account::new(conf, now);
                account.join(self.in_cluster, now);
                Arc::new(account)
            }
        };
        let keys: Vec<_> =
            keys.into_iter().map(|conf| Arc::new(Key { account: account(&conf), conf })).collect();
        let by_hash = keys.iter().enumerate().map(|(place, key)| (*key.conf.hash.bytes(), place)).collect();
        Self { keys, by_hash, in_cluster: self.in_cluster }
    }

    /// The same keys in a cluster, whose gateways share their limits, or in none.
    pub fn joined(&self, in_cluster: bool, now: Instant) -> Self {
        self.keys.iter().for_each(|key| key.account.join(in_cluster, now));
        Self { keys: self.keys.clone(), by_hash: self.by_hash.clone(), in_cluster }
    }

    /// The limits as an exchange of credits sees them; see [`Account::shares`].
    pub fn shares(&self, now: Instant) -> Vec<KeyShare> {
        let of_key = |key: &Arc<Key>| {
            let (account, key) = (Arc::clone(&key.account), Arc::clone(key.name()));
            let shares = account.shares(now).into_iter();
            shares.map(move |(limit, part)| KeyShare {
                name: share::name(&key, limit),
                limit,
                account: Arc::clone(&account),
                part,
            })
        };
        self.keys.iter().flat_map(of_key).collect()
    }

    /// The key that a client has sent, if it is one.
    pub fn find(&self, token: &[u8]) -> Option<&Arc<Key>> {
        let hash = token::hash(token)?;
        let key = self.keys.get(*self.by_hash.get(hash.bytes())?)?;
        (key.conf.hash == hash).then_some(key)
    }

    /// It was read from a file with the same keys.
    pub fn is_of(&self, keys: &[ApiKey]) -> bool {
        self.keys.iter().map(|key| &key.conf).eq(keys)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The use of the first so many keys of the file, and the sum of the others as [`REST`].
    pub fn usage(&self, most: usize) -> Vec<Usage> {
        let mut all: Vec<_> = self.keys.iter().take(most).map(|key| key.usage()).collect();
        let rest = self.keys.iter().skip(most).map(|key| key.usage()).reduce(|mut sum, one| {
            sum.in_flight += one.in_flight;
            sum.used.add(&one.used);
            sum
        });
        all.extend(rest.map(|sum| Usage { name: REST.into(), ..sum }));
        all
    }
}

impl Key {
    pub fn name(&self) -> &Arc<str> {
        &self.conf.name
    }

    /// A number for the key: the same in every gateway and version.
    pub fn flow(&self) -> u64 {
        token::flow(&self.conf.name)
    }

    pub fn is_expired(&self, wall: SystemTime) -> bool {
        self.conf.expires.is_some_and(|time| wall >= time)
    }

    /// Requests of the key may name any model, or none.
    pub fn is_for_all_models(&self) -> bool {
        self.conf.models.is_none()
    }

    pub fn may_use(&self, model: &str) -> bool {
        self.conf.models.as_ref().is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }

    /// The class of a request: that of the key, unless it says a lower one. `usual`: without a key. `said`: in its own field.
    pub fn class(&self, usual: Class, said: Option<Class>) -> Class {
        match self.conf.class {
            // the lower of two classes is the greater
            Some(own) => said.map_or(own, |said| said.max(own)),
            None => usual,
        }
    }

    fn usage(&self) -> Usage {
        let (in_flight, used) = self.account.used();
        Usage { name: Arc::clone(&self.conf.name), in_flight: in_flight.into(), used }
    }
}
