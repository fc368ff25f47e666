//! The knowledge of the gateway: its last answer, the counters of earlier ones, and the beginning of its silence.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::answers::{Node, Open, Status};

/// Rates are those of the last seconds up to this.
const WINDOW: Duration = Duration::from_secs(10);
/// An answer that has been awaited for this long is said to be missing.
const PATIENCE: Duration = Duration::from_secs(4);

/// The gateway's words at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub status: Status,
    pub open: Open,
}

#[derive(Debug)]
pub(super) struct Model {
    /// The gateway's address, as it was named.
    pub address: String,
    pub picture: Option<Picture>,
    counts: VecDeque<Counts>,
    /// The last answer, or the beginning.
    heard: Instant,
    /// The reason why the last try failed.
    trouble: Option<String>,
}

/// Counters at one moment.
#[derive(Debug)]
struct Counts {
    at: Instant,
    pid: u32,
    ended: u64,
    failed: HashMap<(String, String), u64>,
}

impl Counts {
    fn of(status: &Status, at: Instant) -> Self {
        let nodes = status.pools.iter().flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node)));
        let failed = nodes.map(|(pool, node)| ((pool.name.clone(), node.name.clone()), node.failed()));
        Self { at, pid: status.pid, ended: status.ended(), failed: failed.collect() }
    }
}

impl Model {
    pub(super) fn new(address: &str, now: Instant) -> Self {
        let (picture, trouble) = (None, None);
        Self { address: address.to_owned(), picture, counts: VecDeque::new(), heard: now, trouble }
    }

    /// Takes the result of a try.
    pub(super) fn take(&mut self, tried: Result<Picture, String>, now: Instant) {
        match tried {
            Err(why) => self.trouble = Some(why),
            Ok(picture) => {
                (self.heard, self.trouble) = (now, None);
                self.count(&picture.status, now);
                self.picture = Some(picture);
            }
        }
    }

    fn count(&mut self, status: &Status, now: Instant) {
        let counts = Counts::of(status, now);
        // another process, or the same pid with counters that fell, begins anew
        if self.counts.back().is_some_and(|last| last.pid != counts.pid || last.ended > counts.ended) {
            self.counts.clear();
        }
        self.counts.push_back(counts);
        while self.counts.get(1).is_some_and(|second| now.saturating_duration_since(second.at) >= WINDOW) {
            self.counts.pop_front();
        }
    }

    /// The oldest and the newest counters of the window, and the seconds between them.
    fn span(&self) -> Option<(&Counts, &Counts, f64)> {
        let (first, last) = (self.counts.front()?, self.counts.back()?);
        let time = last.at.saturating_duration_since(first.at).as_secs_f64();
        (time > 0.0).then_some((first, last, time))
    }

    /// Requests that ended, a second. `None`: there is only one answer so far.
    pub(super) fn requests_per_second(&self) -> Option<f64> {
        self.span().map(|(first, last, time)| last.ended.saturating_sub(first.ended) as f64 / time)
    }

    /// Attempts that counted against the node, a second.
    pub(super) fn failures_per_second(&self, pool: &str, node: &Node) -> Option<f64> {
        let (first, _, time) = self.span()?;
        let before = first.failed.get(&(pool.to_owned(), node.name.clone()))?;
        Some(node.failed().saturating_sub(*before) as f64 / time)
    }

    /// True if the last try failed.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// A sentence for when the gateway does not answer.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(self.heard);
        if self.trouble.is_none() && silent < PATIENCE {
            return None;
        }
        let why = self.trouble.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        Some(format!("no answer from {} since {} s, trying again{why}", self.address, silent.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::testing::{node, picture, pool};

    fn with(pid: u32, ended: u64, failed: u64) -> Picture {
        let mut pool = pool("p", vec![node("a", "up", &[("ok", 1), ("reset", failed)])]);
        pool.requests_by_code.insert("200".to_owned(), ended);
        let mut picture = picture(vec![pool]);
        picture.status.pid = pid;
        picture
    }

    #[test]
    fn rates_are_those_of_the_last_ten_seconds_of_one_process() {
        let begin = Instant::now();
        let mut model = Model::new("x", begin);
        // second, pid, ended, failed; requests and failures a second
        let table = [
            (0, 1, 100, 0, None),
            (1, 1, 110, 0, Some((10.0, 0.0))),
            (5, 1, 150, 5, Some((10.0, 1.0))),
            (11, 1, 350, 15, Some((24.0, 1.5))),
            (12, 2, 500, 9, None),
            (14, 2, 500, 9, Some((0.0, 0.0))),
            (15, 2, 3, 0, None),
        ];
        for (second, pid, ended, failed, want) in table {
            model.take(Ok(with(pid, ended, failed)), begin + Duration::from_secs(second));
            let node = model.picture.as_ref().map(|it| it.status.pools[0].nodes[0].clone()).expect("a node");
            let rates = model.requests_per_second().zip(model.failures_per_second("p", &node));
            assert_eq!(rates, want, "{second}");
        }
    }

    #[test]
    fn silence_is_counted_from_the_last_answer() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut model = Model::new("host:1", begin);
        assert_eq!(model.trouble(at(1)), None);
        assert_eq!(
            model.trouble(at(4)).as_deref(),
            Some("no answer from host:1 since 4 s, trying again"),
            "a try may hang"
        );
        model.take(Ok(with(1, 0, 0)), at(5));
        assert_eq!(model.trouble(at(6)), None);
        model.take(Err("refused".to_owned()), at(6));
        model.take(Err("refused".to_owned()), at(16));
        assert_eq!(
            model.trouble(at(17)).as_deref(),
            Some("no answer from host:1 since 12 s, trying again (refused)")
        );
        assert!(model.picture.is_some() && model.is_in_trouble(), "what was known is still shown");
        model.take(Ok(with(2, 0, 0)), at(18));
        assert_eq!(model.trouble(at(19)), None);
    }
}
