//! `GET /api/live`: server-sent events for the pages that are open. First `event: whole`, the status as a document, then once a
//! second `event: patch`, a JSON merge patch of what has changed.
//!
//! A patch is made once for all pages together, and only while there is one. A reader that does not take
//! its events in time loses its connection, and begins anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::live::Live;
use crate::status::Document;

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
        let snapshot = self.live.explained(Instant::now());
        let moment = snapshot.moment();
        let history = self.live.history.lock();
        let document = state.document.get_or_insert_with(|| Document::new(snapshot, &history));
        let whole = event("whole", &document.whole(&history, moment));
        drop(history);
        let patches = self.patches.subscribe();
        if !std::mem::replace(&mut state.is_ticking, true) {
            tokio::spawn(tick(Arc::clone(self)));
        }
        Some(Reader { feed: Arc::clone(self), whole, patches })
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

async fn tick(feed: Arc<Feed>) {
    let start = tokio::time::Instant::now() + TICK;
    let mut ticks = tokio::time::interval_at(start, TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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

    #[tokio::test(start_paused = true)]
    async fn patches_bring_a_copy_up_to_date() {
        let feed = feed();
        let mut reader = feed.open().expect("a place");
        let mut copy = json(&reader.whole, "whole");
        let fleet = feed.live.fleet();
        let pool = &fleet.pools[0].pool;
        let _lease = pool.lease(&[], Instant::now()).expect("a node");
        pool.obey("127.0.0.1:3", crate::fleet::Order::Drain, Instant::now()).expect("a known node");
        assert!(feed.advance());
        let patch = json(&reader.patches.recv().await.expect("a patch"), "patch");
        merge(&mut copy, &patch);
        let late = feed.open().expect("a place");
        let mut now = json(&late.whole, "whole");
        for members in [&mut copy, &mut now] {
            let members = members.as_object_mut().expect("an object");
            members.retain(|name, value| !value.is_null() && !matches!(name.as_str(), "marks" | "new_marks"));
        }
        // a member that is `null` and one that is missing are the same to a page
        let mut bare = serde_json::json!({});
        merge(&mut bare, &now);
        let mut copied = serde_json::json!({});
        merge(&mut copied, &copy);
        assert_eq!(copied, bare);
        let node = |name: &str| &copied["pools"]["x"]["nodes"][name];
        assert_eq!(
            (&node("127.0.0.1:2")["in_flight"], &node("127.0.0.1:3")["state"]),
            (&1.into(), &"draining".into())
        );
        let nodes = patch["pools"]["x"]["nodes"]["127.0.0.1:2"].as_object().expect("a node");
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["in_flight"], "only what has changed");
    }
}
