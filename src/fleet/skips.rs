//! Skips: nodes that refuse a model (401, 403, 404) which another node serves.
//!
//! Such a node answers at once, so it has the fewest requests in flight and would attract nearly all of them. The
//! first such answer is a doubt, which keeps the concurrent rest away for a moment. Once another node serves the
//! same request it is confirmed; if all nodes agree it is withdrawn, because then the request was at fault.
//!
//! A 404 concerns the model. A 401 or 403 concerns the key that came with the request, too: another client's may be welcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::digest::Digest;
use super::event::is_personal;
use super::key::Key;

/// The most skips that a pool keeps.
const SKIPS_MAX: usize = 64;
/// A doubt lasts no longer than this, should the other node take its time.
pub(super) const DOUBT: Duration = Duration::from_secs(3);

/// The subject for which nodes may refuse a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The model, or the path of requests that name none.
    pub model: Arc<str>,
    pub credential: Credential,
}

/// The hash of a client's key or keys. There is one for no key, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential(Digest);

impl Credential {
    /// `values`: those of the fields in which clients send a key.
    pub fn of(values: &[&[u8]]) -> Self {
        Self(Digest::of(values))
    }
}

/// One node that is skipped for one model.
#[derive(Clone, Debug)]
struct Skip {
    key: Key,
    model: Arc<str>,
    /// Whose requests: `None` is everybody's.
    credential: Option<Credential>,
    status: u16,
    until: Instant,
    /// Requests under way that have this doubt; 0: confirmed.
    doubts: u32,
}

impl Skip {
    /// It keeps a request for this subject away.
    fn concerns(&self, subject: &Subject) -> bool {
        *self.model == *subject.model
            && self.credential.is_none_or(|credential| credential == subject.credential)
    }
}

/// A refusal with this status is meant for this credential alone.
fn credential_of(subject: &Subject, status: u16) -> Option<Credential> {
    is_personal(status).then_some(subject.credential)
}

/// The skips of one pool.
#[derive(Debug, Default)]
pub(super) struct Skips {
    list: Vec<Skip>,
}

/// Nodes that a request for one model had better not be sent to.
#[derive(Debug, Default)]
pub struct Skipped {
    pub confirmed: Vec<Key>,
    pub doubted: Vec<Key>,
    /// The first end of a confirmed skip.
    pub ends: Option<Instant>,
}

/// A node's refusal of a model, as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkipSnapshot {
    pub model: Arc<str>,
    pub status: u16,
    pub left: Duration,
    /// Another node serves the model; otherwise that is being found out.
    pub confirmed: bool,
    /// For so many clients' keys alone; `None`: for everybody.
    pub credentials: Option<usize>,
}

impl Skips {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(Key) -> bool) {
        self.list.retain(|skip| keep(skip.key));
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.list.retain(|skip| now < skip.until);
    }

    fn find(&mut self, key: Key, subject: &Subject, status: u16) -> Option<&mut Skip> {
        let credential = credential_of(subject, status);
        let is_it = |skip: &&mut Skip| {
            skip.key == key && *skip.model == *subject.model && skip.credential == credential
        };
        self.list.iter_mut().find(is_it)
    }

    /// A node has refused the model. Beyond the bound, the skip that ends first makes room.
    pub(super) fn doubt(&mut self, key: Key, subject: &Subject, status: u16, now: Instant) {
        self.expire(now);
        if let Some(skip) = self.find(key, subject, status) {
            if skip.doubts > 0 {
                skip.doubts += 1;
                skip.until = now + DOUBT;
            }
            return;
        }
        if self.list.len() == SKIPS_MAX
            && let Some(first) = (0..SKIPS_MAX).min_by_key(|place| self.list[*place].until)
        {
            self.list.swap_remove(first);
        }
        let (model, credential) = (Arc::clone(&subject.model), credential_of(subject, status));
        self.list.push(Skip { key, model, credential, status, until: now + DOUBT, doubts: 1 });
    }

    /// One of the requests that had this doubt has ended without a node that serves the model.
    pub(super) fn withdraw(&mut self, key: Key, subject: &Subject, status: u16) {
        let Some(skip) = self.find(key, subject, status).filter(|skip| skip.doubts > 0) else { return };
        skip.doubts -= 1;
        if skip.doubts == 0 {
            let credential = credential_of(subject, status);
            self.list.retain(|skip| {
                skip.key != key || *skip.model != *subject.model || skip.credential != credential
            });
        }
    }

    /// Another node serves the model. Whether that is news: what is known for one key is none for the next.
    pub(super) fn confirm(
        &mut self,
        key: Key,
        subject: &Subject,
        status: u16,
        time: Duration,
        now: Instant,
    ) -> bool {
        if self.find(key, subject, status).is_none() {
            // the other node has taken longer than a doubt lasts
            self.doubt(key, subject, status, now);
        }
        let is_known = self.list.iter().any(|skip| {
            skip.doubts == 0
                && skip.key == key
                && *skip.model == *subject.model
                && skip.credential.is_some() == is_personal(status)
        });
        let Some(skip) = self.find(key, subject, status) else { return false };
        skip.doubts = 0;
        skip.until = now + time;
        !is_known
    }

    /// The nodes to skip for a model and a key.
    pub(super) fn of(&mut self, subject: &Subject, now: Instant) -> Skipped {
        self.expire(now);
        let mut skipped = Skipped::default();
        for skip in self.list.iter().filter(|skip| skip.concerns(subject)) {
            if skip.doubts > 0 {
                skipped.doubted.push(skip.key);
            } else {
                skipped.confirmed.push(skip.key);
                skipped.ends = Some(skipped.ends.map_or(skip.until, |ends: Instant| ends.min(skip.until)));
            }
        }
        skipped
    }

    /// The skips of a node; those for single keys are counted together.
    pub(super) fn snapshot(&self, key: Key, now: Instant) -> Vec<SkipSnapshot> {
        let mut shown: Vec<SkipSnapshot> = Vec::new();
        for skip in self.list.iter().filter(|skip| skip.key == key && now < skip.until) {
            let left = skip.until.saturating_duration_since(now);
            let confirmed = skip.doubts == 0;
            let alike = shown.iter_mut().find(|other| {
                other.model == skip.model && other.status == skip.status && other.confirmed == confirmed
            });
            match alike {
                Some(SkipSnapshot { left: longest, credentials: Some(count), .. }) => {
                    *longest = left.max(*longest);
                    *count += 1;
                }
                _ => shown.push(SkipSnapshot {
                    model: Arc::clone(&skip.model),
                    status: skip.status,
                    left,
                    confirmed,
                    credentials: skip.credential.map(|_| 1),
                }),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);

    fn key(serial: u64) -> Key {
        Key { place: 0, serial }
    }

    /// A request for this model, with this client's key.
    fn with(model: &str, secret: &str) -> Subject {
        Subject { model: model.into(), credential: Credential::of(&[secret.as_bytes()]) }
    }

    #[test]
    fn a_doubt_lasts_as_long_as_someone_has_it_and_no_longer_than_a_moment() {
        let now = Instant::now();
        for status in [401, 404] {
            let (mut skips, m) = (Skips::default(), with("m", "x"));
            skips.doubt(key(1), &m, status, now);
            skips.doubt(key(1), &m, status, now);
            assert_eq!(skips.of(&m, now).doubted, [key(1)]);
            assert!(skips.of(&with("n", "x"), now).doubted.is_empty(), "another model");
            skips.withdraw(key(1), &m, status);
            assert_eq!(skips.of(&m, now).doubted, [key(1)], "another request doubts it still");
            skips.withdraw(key(1), &m, status);
            assert!(skips.is_empty());
            skips.doubt(key(1), &m, status, now);
            assert!(skips.of(&m, now + DOUBT).doubted.is_empty() && skips.is_empty());
        }
    }

    #[test]
    fn a_confirmed_skip_is_news_once_and_lasts() {
        let now = Instant::now();
        let (mut skips, m) = (Skips::default(), with("m", "x"));
        skips.doubt(key(1), &m, 404, now);
        assert!(skips.confirm(key(1), &m, 404, TIME, now));
        assert!(!skips.confirm(key(1), &m, 404, TIME, now), "a concurrent request says the same");
        skips.doubt(key(1), &m, 404, now);
        skips.withdraw(key(1), &m, 404);
        assert_eq!(skips.of(&m, now).confirmed, [key(1)], "it is known by now");
        assert_eq!(skips.of(&m, now).ends, Some(now + TIME));
        assert!(skips.of(&m, now + TIME).confirmed.is_empty());
        let late = now + TIME;
        assert!(skips.confirm(key(1), &m, 404, TIME, late), "the doubt had ended before the other's answer");
    }

    #[test]
    fn a_refused_key_keeps_nobody_else_away() {
        let now = Instant::now();
        for status in [401, 403, 404] {
            let mut skips = Skips::default();
            let (mine, yours) = (with("m", "mine"), with("m", "yours"));
            skips.doubt(key(1), &mine, status, now);
            let shared = if status == 404 { vec![key(1)] } else { Vec::new() };
            assert_eq!(skips.of(&yours, now).doubted, shared, "{status}");
            assert!(skips.confirm(key(1), &mine, status, TIME, now));
            assert_eq!(skips.of(&mine, now).confirmed, [key(1)], "{status}");
            assert_eq!(skips.of(&yours, now).confirmed, shared, "{status}");
            assert!(
                !skips.confirm(key(1), &yours, status, TIME, now),
                "no news: that node refuses some keys"
            );
            let shown = skips.snapshot(key(1), now);
            let credentials: Vec<_> = shown.iter().map(|skip| skip.credentials).collect();
            assert_eq!(credentials, [(status != 404).then_some(2)], "{status}");
            assert!(!format!("{skips:?}").contains("mine"));
        }
    }

    #[test]
    fn a_key_and_a_model_are_refused_apart() {
        let now = Instant::now();
        let (mut skips, m) = (Skips::default(), with("m", "x"));
        assert!(skips.confirm(key(1), &m, 401, TIME, now));
        assert!(skips.confirm(key(1), &m, 404, TIME, now), "this one is for everybody");
        skips.doubt(key(1), &with("m", "y"), 401, now);
        skips.withdraw(key(1), &with("m", "y"), 401);
        assert_eq!(skips.snapshot(key(1), now).len(), 2);
        assert_eq!(skips.of(&with("m", "y"), now).confirmed, [key(1)]);
    }

    #[test]
    fn the_list_is_bounded_and_the_first_to_end_makes_room() {
        let start = Instant::now();
        let mut skips = Skips::default();
        let subject = |number: u64| with(&(number % 2).to_string(), &number.to_string());
        for number in 0..200_u64 {
            let now = start + Duration::from_millis(number);
            skips.doubt(key(1), &subject(number), 401, now);
        }
        assert_eq!(skips.list.len(), SKIPS_MAX);
        let now = start + Duration::from_millis(200);
        assert_eq!(skips.of(&subject(199), now).doubted, [key(1)]);
        assert!(skips.of(&subject(0), now).doubted.is_empty());
        assert_eq!(skips.snapshot(key(1), now).len(), 2, "shown together");
    }
}
