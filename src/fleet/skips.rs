//! Skips: nodes that refuse a model (401, 403, 404) which another node serves.
//!
//! Such a node answers at once, so it has the fewest requests in flight and would attract nearly all of them. The
//! first such answer is a doubt, which keeps the concurrent rest away for a moment. Once another node serves the
//! same request it is confirmed; if all nodes agree it is withdrawn, because then the request was at fault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::key::Key;

/// The most skips that a pool keeps.
const SKIPS_MAX: usize = 64;
/// A doubt lasts no longer than this, should the other node take its time.
pub(super) const DOUBT: Duration = Duration::from_secs(3);

/// One node that is skipped for one model.
#[derive(Clone, Debug)]
struct Skip {
    key: Key,
    /// The model, or the path of requests that name none.
    subject: Arc<str>,
    status: u16,
    until: Instant,
    /// Requests under way that have this doubt; 0: confirmed.
    doubts: u32,
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

    fn find(&mut self, key: Key, subject: &str) -> Option<&mut Skip> {
        self.list.iter_mut().find(|skip| skip.key == key && *skip.subject == *subject)
    }

    /// A node has refused the model. Beyond the bound, the skip that ends first makes room.
    pub(super) fn doubt(&mut self, key: Key, subject: &Arc<str>, status: u16, now: Instant) {
        self.expire(now);
        if let Some(skip) = self.find(key, subject) {
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
        self.list.push(Skip { key, subject: Arc::clone(subject), status, until: now + DOUBT, doubts: 1 });
    }

    /// One of the requests that had this doubt has ended without a node that serves the model.
    pub(super) fn withdraw(&mut self, key: Key, subject: &str) {
        let Some(skip) = self.find(key, subject).filter(|skip| skip.doubts > 0) else { return };
        skip.doubts -= 1;
        if skip.doubts == 0 {
            self.list.retain(|skip| skip.key != key || *skip.subject != *subject);
        }
    }

    /// Another node serves the model. Whether that is news.
    pub(super) fn confirm(
        &mut self,
        key: Key,
        subject: &Arc<str>,
        status: u16,
        time: Duration,
        now: Instant,
    ) -> bool {
        if self.find(key, subject).is_none() {
            // the other node has taken longer than a doubt lasts
            self.doubt(key, subject, status, now);
        }
        let Some(skip) = self.find(key, subject) else { return false };
        let is_news = skip.doubts > 0;
        skip.doubts = 0;
        skip.until = now + time;
        is_news
    }

    /// The nodes to skip for a model.
    pub(super) fn of(&mut self, subject: &str, now: Instant) -> Skipped {
        self.expire(now);
        let mut skipped = Skipped::default();
        for skip in self.list.iter().filter(|skip| *skip.subject == *subject) {
            if skip.doubts > 0 {
                skipped.doubted.push(skip.key);
            } else {
                skipped.confirmed.push(skip.key);
                skipped.ends = Some(skipped.ends.map_or(skip.until, |ends: Instant| ends.min(skip.until)));
            }
        }
        skipped
    }

    pub(super) fn snapshot(&self, key: Key, now: Instant) -> Vec<SkipSnapshot> {
        let of_node = self.list.iter().filter(|skip| skip.key == key && now < skip.until);
        let snapshot = |skip: &Skip| SkipSnapshot {
            model: Arc::clone(&skip.subject),
            status: skip.status,
            left: skip.until.saturating_duration_since(now),
            confirmed: skip.doubts == 0,
        };
        of_node.map(snapshot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);

    fn key(serial: u64) -> Key {
        Key { place: 0, serial }
    }

    #[test]
    fn a_doubt_lasts_as_long_as_someone_has_it_and_no_longer_than_a_moment() {
        let now = Instant::now();
        let (mut skips, model) = (Skips::default(), Arc::from("m"));
        skips.doubt(key(1), &model, 404, now);
        skips.doubt(key(1), &model, 404, now);
        assert_eq!(skips.of("m", now).doubted, [key(1)]);
        assert!(skips.of("n", now).doubted.is_empty(), "another model");
        skips.withdraw(key(1), "m");
        assert_eq!(skips.of("m", now).doubted, [key(1)], "another request doubts it still");
        skips.withdraw(key(1), "m");
        assert!(skips.is_empty());
        skips.doubt(key(1), &model, 404, now);
        assert!(skips.of("m", now + DOUBT).doubted.is_empty() && skips.is_empty());
    }

    #[test]
    fn a_confirmed_skip_is_news_once_and_lasts() {
        let now = Instant::now();
        let (mut skips, model) = (Skips::default(), Arc::from("m"));
        skips.doubt(key(1), &model, 404, now);
        assert!(skips.confirm(key(1), &model, 404, TIME, now));
        assert!(!skips.confirm(key(1), &model, 404, TIME, now), "a concurrent request says the same");
        skips.doubt(key(1), &model, 404, now);
        skips.withdraw(key(1), "m");
        assert_eq!(skips.of("m", now).confirmed, [key(1)], "it is known by now");
        assert_eq!(skips.of("m", now).ends, Some(now + TIME));
        assert!(skips.of("m", now + TIME).confirmed.is_empty());
        let late = now + TIME;
        assert!(
            skips.confirm(key(1), &model, 404, TIME, late),
            "the doubt had ended before the other's answer"
        );
    }

    #[test]
    fn the_list_is_bounded_and_the_first_to_end_makes_room() {
        let start = Instant::now();
        let mut skips = Skips::default();
        for number in 0..200_u64 {
            let now = start + Duration::from_millis(number);
            skips.doubt(key(1), &number.to_string().into(), 404, now);
        }
        assert_eq!(skips.list.len(), SKIPS_MAX);
        let now = start + Duration::from_millis(200);
        assert_eq!(skips.of("199", now).doubted, [key(1)]);
        assert!(skips.of("0", now).doubted.is_empty());
    }
}
