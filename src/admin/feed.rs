//! `GET /api/live`: server-sent events for the pages that are open. First `event: whole`, the status as a document, then once a
//! second `event: patch`, a JSON merge patch of what has changed.
//!
//! A patch is made once for all pages together, and only while there is one. A reader that does not take
//! its events in time loses its connection, and begins anew.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::live::Live;
use crate::status::{Document, Moment};

/// The most pages that may be open.
pub(super) const READERS_MAX: usize = 16;
/// Events that a reader may be behind.
const BEHIND_MAX: usize = 4;
const TICK: Duration = Duration::from_secs(1);

/// The source of the events.
pub(super) struct Feed {
    live: Arc<Live>,
    state: Mutex<State>,
    patches: broadcast::Sender<Bytes>,
}

#[derive(Default)]
struct State {
    readers: usize,
    /// The status that all readers have. `None`: there is no reader.
    document: Option<Document>,
    /// Makes the patches as long as there are readers.
    is_ticking: bool,
}

/// An open page. It gives its place back when it is dropped.
pub(super) struct Reader {
    feed: Arc<Feed>,
    /// The document as it is now; the patches follow on it.
    pub whole: Bytes,
    pub patches: broadcast::Receiver<Bytes>,
}

impl Feed {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live, state: Mutex::default(), patches: broadcast::channel(BEHIND_MAX).0 }
    }

    /// A place for one page more, if there is one.
    pub(super) fn open(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state.lock();
        if state.readers >= READERS_MAX {
            return None;
        }
        state.readers += 1;
        let moment = Moment { at: Instant::now(), wall: SystemTime::now() };
        let new = state.document.is_none().then(|| self.live.explained(moment.at));
        let history = self.live.history.lock();
        if let Some(snapshot) = new {
            state.document = Some(Document::new(snapshot, &history));
        }
        let Some(document) = &state.document else { return None };
        let whole = event("whole", &document.whole(&history, moment));
        drop(history);
        let patches = self.patches.subscribe();
        if !std::mem::replace(&mut state.is_ticking, true) {
            tokio::spawn(tick(Arc::clone(self), self.first_tick()));
        }
        Some(Reader { feed: Arc::clone(self), whole, patches })
    }

    /// Each tick comes soon after the second's sample and the marks with it, which are taken in the middle of the second.
    fn first_tick(&self) -> Instant {
        let started = self.live.started;
        started + Duration::from_secs(started.elapsed().as_secs() + 1) + TICK * 3 / 5
    }

    /// Sends what has changed. False: nobody reads any more.
    fn advance(&self) -> bool {
        let mut state = self.state.lock();
        let Some(document) = state.document.as_mut() else {
            state.is_ticking = false;
            return false;
        };
        let snapshot = self.live.explained(Instant::now());
        let patch = event("patch", &document.advance(snapshot, &self.live.history.lock()));
        // an error says that the last reader has just left
        let _ = self.patches.send(patch);
        true
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.feed.state.lock();
        state.readers -= 1;
        if state.readers == 0 {
            state.document = None;
        }
    }
}

async fn tick(feed: Arc<Feed>, first: Instant) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::from_std(first), TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if !feed.advance() {
            return;
        }
    }
}

/// JSON has no line ends here, so it is one line of data.
pub(super) fn event(name: &str, json: &str) -> Bytes {
    format!("event: {name}\ndata: {json}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn feed() -> Arc<Feed> {
        let text = "server: { listen: 127.0.0.1:1 }\npools: { x: { nodes: [127.0.0.1:2, 127.0.0.1:3] } }\n";
        let live = Arc::new(Live::new(Config::parse(text, "a test").expect("a valid config")));
        Arc::new(Feed::new(live))
    }

    fn json(event: &Bytes, name: &str) -> serde_json::Value {
        let text = std::str::from_utf8(event).expect("UTF-8");
        let data = text.strip_prefix(&format!("event: {name}\ndata: ")).expect(name);
        serde_json::from_str(data.strip_suffix("\n\n").expect("an end")).expect("JSON")
    }

    fn merge(into: &mut serde_json::Value, patch: &serde_json::Value) {
        let Some(patch) = patch.as_object() else {
            *into = patch.clone();
            return;
        };
        if !into.is_object() {
            *into = serde_json::json!({});
        }
        for (name, value) in patch {
            match into.as_object_mut() {
                Some(members) if value.is_null() => drop(members.remove(name)),
                Some(members) => merge(members.entry(name).or_insert_with(|| serde_json::json!({})), value),
                None => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_bounded_and_their_places_come_back() {
        let feed = feed();
        let readers: Vec<_> = (0..READERS_MAX).map(|_| feed.open().expect("a place")).collect();
        assert!(feed.open().is_none());
        drop(readers);
        assert!(feed.state.lock().document.is_none());
        assert!(!feed.advance(), "nobody reads");
        assert!(feed.open().is_some());
    }

    /// As a page has it: a member that is `null` and one that is missing are the same, and marks are kept apart.
    fn bare(mut document: serde_json::Value) -> serde_json::Value {
        let members = document.as_object_mut().expect("an object");
        members.retain(|name, _| !matches!(name.as_str(), "marks" | "new_marks"));
        let mut bare = serde_json::json!({});
        merge(&mut bare, &document);
        bare
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_changed_is_sent() {
        let feed = feed();
        let mut reader = feed.open().expect("a place");
        let fleet = feed.live.fleet();
        let _lease = fleet.pools[0].pool.lease(&[], Instant::now()).expect("a node");
        assert!(feed.advance());
        let patch = json(&reader.patches.recv().await.expect("a patch"), "patch");
        let nodes = patch["pools"]["x"]["nodes"].as_object().expect("nodes");
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["127.0.0.1:2"]);
        let members = nodes["127.0.0.1:2"].as_object().expect("a node");
        assert_eq!(members.keys().collect::<Vec<_>>(), ["in_flight"]);
    }

    #[tokio::test(start_paused = true)]
    async fn patches_bring_a_copy_up_to_date_whatever_happens() {
        let feed = feed();
        let mut reader = feed.open().expect("a place");
        let mut copy = json(&reader.whole, "whole");
        let mut leases = Vec::new();
        // nodes and pools come, go, idle or with a request, and change places; another takes a name
        for pools in [
            "x: { nodes: [127.0.0.1:2, 127.0.0.1:3] }",
            "x: { nodes: [127.0.0.1:3, 127.0.0.1:2, 127.0.0.1:4] }",
            "x: { models: [x], nodes: [127.0.0.1:4, 127.0.0.1:5, 127.0.0.1:6] }, y: { nodes: [127.0.0.1:2] }",
            "x: { models: [x], nodes: [127.0.0.1:4] }, y: { nodes: [127.0.0.1:2] }",
            "y: { nodes: [{ name: n, address: 127.0.0.1:2 }] }",
            "y: { models: [y], nodes: [{ name: n, address: 127.0.0.1:9 }] }, x: { nodes: [127.0.0.1:4, 127.0.0.1:2] }",
            "x: { nodes: [127.0.0.1:2] }",
        ] {
            let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools: {{ {pools} }}\n");
            let config = Config::parse(&text, "a test").expect("a valid config");
            let now = Instant::now();
            let next = feed.live.fleet().next(config, now);
            feed.live.replace(next, now);
            leases
                .extend(feed.live.fleet().pools.iter().filter_map(|member| member.pool.lease(&[], now).ok()));
            assert!(feed.advance());
            merge(&mut copy, &json(&reader.patches.recv().await.expect("a patch"), "patch"));
            let late = feed.open().expect("a place");
            assert_eq!(bare(copy.clone()), bare(json(&late.whole, "whole")), "{pools}");
        }
        assert!(leases.len() > 5);
    }
}
