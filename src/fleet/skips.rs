//! Skips: nodes that refuse a model (401, 403, 404).
//!
//! Such a node answers at once, so it has the fewest requests in flight and would attract nearly all of them. The
//! first such answer is a doubt, which keeps the concurrent rest away for a moment. Once another node serves the
//! same request it is confirmed. If all nodes agree, that is remembered for a moment, so that one of them speaks for all, and
//! forgotten when any serves the model. When a confirmed skip's time is over, one request at a time tries the node.
//!
//! A 404 concerns the model. A 401 or 403 concerns the key that came with the request, too: another client's may be welcome.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::digest::Digest;
use super::event::is_personal;
use super::key::Key;

/// The most skips that a pool keeps, of a few hundred bytes each.
const SKIPS_MAX: usize = 4096;
/// A doubt lasts no longer than this, should the other node take its time; an agreement and a trial neither.
pub(super) const DOUBT: Duration = Duration::from_secs(3);

/// The subject for which nodes may refuse a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The model, or the path of requests that name none.
    pub model: Arc<str>,
    pub credential: Credential,
}

/// The hash of a client's key or keys. There is one for no key, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credential(Digest);

impl Credential {
    /// `values`: those of the fields in which clients send a key.
    pub fn of(values: &[&[u8]]) -> Self {
        Self(Digest::of(values))
    }
}

/// The requests that a refusal concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Scope {
    model: Arc<str>,
    /// Whose requests: `None` is everybody's.
    credential: Option<Credential>,
}

impl Scope {
    /// A refusal with this status.
    fn of(subject: &Subject, status: u16) -> Self {
        let credential = is_personal(status).then_some(subject.credential);
        Self { model: Arc::clone(&subject.model), credential }
    }

    /// Both that a request for this subject falls into.
    fn all(subject: &Subject) -> [Self; 2] {
        [None, Some(subject.credential)]
            .map(|credential| Self { model: Arc::clone(&subject.model), credential })
    }
}

/// One node that is skipped for one scope.
#[derive(Clone, Debug)]
struct Skip {
    key: Key,
    status: u16,
    state: State,
    /// From then on one request may try the node.
    trial: Instant,
    /// Then it is forgotten.
    until: Instant,
    /// With `until` its place in the order of the ends.
    serial: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many requests under way have this doubt.
    Doubted(u32),
    /// All nodes refuse it.
    Agreed,
    /// Another node serves it.
    Confirmed,
}

/// The skips of one pool.
#[derive(Debug, Default)]
pub(super) struct Skips {
    scopes: HashMap<Scope, Vec<Skip>>,
    /// All of them, the first to end first.
    ends: BTreeMap<(Instant, u64), (Scope, Key)>,
    last_serial: u64,
}

/// Nodes that a request had better not be sent to.
#[derive(Debug, Default)]
pub struct Skipped {
    pub nodes: Vec<Key>,
    /// The first time at which one of them may be tried.
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
        self.ends.is_empty()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(Key) -> bool) {
        let gone: Vec<_> = self.ends.values().filter(|(_, key)| !keep(*key)).cloned().collect();
        for (scope, key) in gone {
            self.remove(&scope, key);
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= now) {
            let (scope, key) = first.get().clone();
            self.remove(&scope, key);
        }
    }

    fn find(&mut self, scope: &Scope, key: Key) -> Option<&mut Skip> {
        self.scopes.get_mut(scope)?.iter_mut().find(|skip| skip.key == key)
    }

    fn remove(&mut self, scope: &Scope, key: Key) {
        let Some(list) = self.scopes.get_mut(scope) else { return };
        if let Some(place) = list.iter().position(|skip| skip.key == key) {
            let Skip { until, serial, .. } = list.swap_remove(place);
            self.ends.remove(&(until, serial));
        }
        if list.is_empty() {
            self.scopes.remove(scope);
        }
    }

    /// Beyond the bound, the skip that ends first makes room.
    fn put(&mut self, scope: Scope, key: Key, status: u16, state: State, [trial, until]: [Instant; 2]) {
        self.remove(&scope, key);
        if self.ends.len() >= SKIPS_MAX
            && let Some((scope, key)) = self.ends.first_key_value().map(|(_, first)| first.clone())
        {
            self.remove(&scope, key);
        }
        self.last_serial += 1;
        let serial = self.last_serial;
        self.ends.insert((until, serial), (scope.clone(), key));
        self.scopes.entry(scope).or_default().push(Skip { key, status, state, trial, until, serial });
    }

    /// A node has refused the model.
    /// True if the doubt is new.
    pub(super) fn doubt(&mut self, key: Key, subject: &Subject, status: u16, now: Instant) -> bool {
        self.expire(now);
        let scope = Scope::of(subject, status);
        let state = match self.find(&scope, key).map(|skip| skip.state) {
            None => State::Doubted(1),
            Some(State::Doubted(requests)) => State::Doubted(requests + 1),
            Some(State::Agreed) => State::Agreed,
            Some(State::Confirmed) => return false,
        };
        self.put(scope, key, status, state, [now + DOUBT; 2]);
        state == State::Doubted(1)
    }

    /// One of the requests that had this doubt has ended without a verdict. True if nobody doubts it any more.
    pub(super) fn withdraw(&mut self, key: Key, subject: &Subject, status: u16) -> bool {
        let scope = Scope::of(subject, status);
        let Some(skip) = self.find(&scope, key) else { return false };
        match skip.state {
            State::Doubted(0 | 1) => {
                self.remove(&scope, key);
                return true;
            }
            State::Doubted(requests) => skip.state = State::Doubted(requests - 1),
            State::Agreed | State::Confirmed => {}
        }
        false
    }

    /// All nodes refuse the model. True if that is news.
    pub(super) fn agree(&mut self, key: Key, subject: &Subject, status: u16, now: Instant) -> bool {
        let scope = Scope::of(subject, status);
        let before = self.find(&scope, key).map(|skip| skip.state);
        if before != Some(State::Confirmed) {
            self.put(scope, key, status, State::Agreed, [now + DOUBT; 2]);
        }
        matches!(before, None | Some(State::Doubted(_)))
    }

    /// Another node serves the model. True if that is news: what is known for one key is none for the next.
    pub(super) fn confirm(
        &mut self,
        key: Key,
        subject: &Subject,
        status: u16,
        time: Duration,
        now: Instant,
    ) -> bool {
        self.expire(now);
        let scope = Scope::of(subject, status);
        let is_it = |skip: &Skip| skip.key == key && skip.state == State::Confirmed && now < skip.trial;
        let is_known = if scope.credential.is_none() {
            self.scopes.get(&scope).is_some_and(|list| list.iter().any(is_it))
        } else {
            let of_anyone = |other: &Scope| other.credential.is_some() && other.model == scope.model;
            self.scopes.iter().any(|(other, list)| of_anyone(other) && list.iter().any(is_it))
        };
        self.put(scope, key, status, State::Confirmed, [now + time, now + time * 2]);
        !is_known
    }

    /// The node serves the model: it does not refuse it, and nodes that do are not all. True if that is news.
    pub(super) fn served(&mut self, key: Key, subject: &Subject) -> bool {
        let mut is_news = false;
        for scope in Scope::all(subject) {
            let Some(list) = self.scopes.get(&scope) else { continue };
            let is_over = |skip: &&Skip| skip.key == key || skip.state == State::Agreed;
            let over: Vec<_> = list.iter().filter(is_over).map(|skip| skip.key).collect();
            is_news |= !over.is_empty();
            over.into_iter().for_each(|key| self.remove(&scope, key));
        }
        is_news
    }

    /// The nodes that are known to refuse it.
    pub(super) fn refusing(&mut self, subject: &Subject, now: Instant) -> Skipped {
        self.listed(subject, now, |_| true)
    }

    /// The nodes that a request which is to be sent now skips. It is the trial of the others.
    pub(super) fn skipped(&mut self, subject: &Subject, now: Instant) -> Skipped {
        self.listed(subject, now, |skip| {
            let is_trial = skip.trial <= now;
            if is_trial {
                skip.trial = now + DOUBT;
            }
            !is_trial
        })
    }

    fn listed(&mut self, subject: &Subject, now: Instant, is_in: impl Fn(&mut Skip) -> bool) -> Skipped {
        self.expire(now);
        let mut skipped = Skipped::default();
        for scope in Scope::all(subject) {
            for skip in self.scopes.get_mut(&scope).into_iter().flatten() {
                if is_in(skip) {
                    skipped.nodes.push(skip.key);
                    let ends = skipped.ends.unwrap_or(skip.trial);
                    skipped.ends = Some(ends.min(skip.trial));
                }
            }
        }
        skipped
    }

    /// The skips of each node; those for single keys are counted together. What all nodes refuse keeps no request away.
    pub(super) fn snapshot(&self, now: Instant) -> HashMap<Key, Vec<SkipSnapshot>> {
        let mut shown: HashMap<_, SkipSnapshot> = HashMap::new();
        for (scope, skip) in
            self.scopes.iter().flat_map(|(scope, list)| list.iter().map(move |skip| (scope, skip)))
        {
            let left = skip.trial.saturating_duration_since(now);
            if skip.state == State::Agreed || left.is_zero() {
                continue;
            }
            let confirmed = skip.state == State::Confirmed;
            let whose = scope.credential.map(|_| 0);
            let alike = (skip.key, Arc::clone(&scope.model), skip.status, confirmed, whose);
            let entry = shown.entry(alike).or_insert_with(|| SkipSnapshot {
                model: Arc::clone(&scope.model),
                status: skip.status,
                left,
                confirmed,
                credentials: whose,
            });
            entry.left = entry.left.max(left);
            entry.credentials = entry.credentials.map(|count| count + 1);
        }
        let mut nodes: HashMap<Key, Vec<SkipSnapshot>> = HashMap::new();
        for ((key, ..), skip) in shown {
            nodes.entry(key).or_default().push(skip);
        }
        nodes
            .values_mut()
            .for_each(|skips| skips.sort_by(|a, b| (&a.model, a.status).cmp(&(&b.model, b.status))));
        nodes
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

    fn refusing(skips: &mut Skips, subject: &Subject, now: Instant) -> Vec<Key> {
        skips.refusing(subject, now).nodes
    }

    /// The lists agree with the order of the ends.
    fn check(skips: &Skips) {
        let in_lists: usize = skips.scopes.values().map(Vec::len).sum();
        assert_eq!((in_lists, skips.scopes.values().any(Vec::is_empty)), (skips.ends.len(), false));
    }

    #[test]
    fn a_doubt_lasts_as_long_as_someone_has_it_and_no_longer_than_a_moment() {
        let now = Instant::now();
        for status in [401, 404] {
            let (mut skips, m) = (Skips::default(), with("m", "x"));
            skips.doubt(key(1), &m, status, now);
            skips.doubt(key(1), &m, status, now);
            assert_eq!(refusing(&mut skips, &m, now), [key(1)]);
            assert!(refusing(&mut skips, &with("n", "x"), now).is_empty(), "another model");
            skips.withdraw(key(1), &m, status);
            assert_eq!(refusing(&mut skips, &m, now), [key(1)], "another request doubts it still");
            skips.withdraw(key(1), &m, status);
            assert!(skips.is_empty());
            skips.doubt(key(1), &m, status, now);
            assert!(refusing(&mut skips, &m, now + DOUBT).is_empty() && skips.is_empty());
            check(&skips);
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
        let skipped = skips.skipped(&m, now);
        assert_eq!((skipped.nodes, skipped.ends), (vec![key(1)], Some(now + TIME)), "it is known by now");
        let late = now + TIME * 2;
        assert!(refusing(&mut skips, &m, late).is_empty());
        assert!(skips.confirm(key(1), &m, 404, TIME, late), "the doubt had ended before the other's answer");
        check(&skips);
    }

    /// Else all that come before its first answer would ask it, and it has the fewest requests in flight.
    #[test]
    fn when_a_skip_ends_one_request_at_a_time_tries_the_node() {
        let start = Instant::now();
        let (mut skips, m) = (Skips::default(), with("m", "x"));
        skips.confirm(key(1), &m, 404, TIME, start);
        for round in 0..3 {
            let now = start + TIME + DOUBT * round;
            assert_eq!(skips.skipped(&m, now).nodes, [], "the trial of round {round}");
            let rest = skips.skipped(&m, now);
            assert_eq!((rest.nodes, rest.ends), (vec![key(1)], Some(now + DOUBT)));
            assert_eq!(refusing(&mut skips, &m, now), [key(1)], "it has said nothing else so far");
        }
        let now = start + TIME;
        skips.confirm(key(1), &m, 404, TIME, now);
        assert_eq!(skips.skipped(&m, now + TIME / 2).nodes, [key(1)], "refused again");
        skips.served(key(1), &m);
        assert!(skips.is_empty(), "served");
    }

    #[test]
    fn what_all_refuse_is_forgotten_when_one_serves_it() {
        let now = Instant::now();
        for status in [401, 404] {
            let (mut skips, m) = (Skips::default(), with("m", "x"));
            for node in [1, 2] {
                skips.doubt(key(node), &m, status, now);
                skips.agree(key(node), &m, status, now);
                skips.withdraw(key(node), &m, status);
            }
            skips.confirm(key(3), &m, status, TIME, now);
            skips.agree(key(3), &m, status, now);
            assert_eq!(refusing(&mut skips, &m, now).len(), 3);
            assert_eq!(
                skips.snapshot(now).keys().collect::<Vec<_>>(),
                [&key(3)],
                "the others keep none away"
            );
            skips.served(key(1), &m);
            assert_eq!(refusing(&mut skips, &m, now), [key(3)]);
            skips.agree(key(2), &m, status, now);
            assert_eq!(refusing(&mut skips, &m, now + DOUBT), [key(3)], "or a moment later");
            check(&skips);
        }
    }

    #[test]
    fn a_refused_key_keeps_nobody_else_away() {
        let now = Instant::now();
        for status in [401, 403, 404] {
            let mut skips = Skips::default();
            let (mine, yours) = (with("m", "mine"), with("m", "yours"));
            skips.doubt(key(1), &mine, status, now);
            let shared = if status == 404 { vec![key(1)] } else { Vec::new() };
            assert_eq!(refusing(&mut skips, &yours, now), shared, "{status}");
            assert!(skips.confirm(key(1), &mine, status, TIME, now));
            assert_eq!(refusing(&mut skips, &mine, now), [key(1)], "{status}");
            assert_eq!(refusing(&mut skips, &yours, now), shared, "{status}");
            assert!(
                !skips.confirm(key(1), &yours, status, TIME, now),
                "no news: that node refuses some keys"
            );
            let shown = skips.snapshot(now);
            let credentials: Vec<_> = shown[&key(1)].iter().map(|skip| skip.credentials).collect();
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
        assert_eq!(skips.snapshot(now)[&key(1)].len(), 2);
        assert_eq!(refusing(&mut skips, &with("m", "y"), now), [key(1)]);
    }

    #[test]
    fn a_hundred_models_fit_and_beyond_the_bound_the_first_to_end_makes_room() {
        let start = Instant::now();
        let mut skips = Skips::default();
        for model in 0..100 {
            for node in 0..20 {
                skips.confirm(key(node), &with(&model.to_string(), "x"), 404, TIME * 9, start);
            }
        }
        let subject = |number: u64| with("m", &number.to_string());
        let last = SKIPS_MAX as u64 + 200;
        for number in 0..=last {
            skips.doubt(key(1), &subject(number), 401, start + Duration::from_micros(number));
        }
        check(&skips);
        assert_eq!(skips.ends.len(), SKIPS_MAX);
        let now = start + Duration::from_micros(last);
        assert_eq!(refusing(&mut skips, &subject(last), now), [key(1)]);
        assert!(refusing(&mut skips, &subject(0), now).is_empty());
        assert_eq!(refusing(&mut skips, &with("99", "y"), now).len(), 20, "known for longer");
        assert_eq!(skips.snapshot(now)[&key(1)].len(), 101, "those for single keys are shown together");
        skips.retain(|kept| kept == key(2));
        check(&skips);
        assert_eq!(skips.ends.len(), 100);
    }
}
