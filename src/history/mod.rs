//! The history of the fleet: requests in flight for each node, requests waiting for each pool, and marks: what happened when.
//!
//! Only the number of requests in flight shows that two nodes drift apart, and only over time. So a sample is kept for each
//! second of the last 5 minutes, and mean and maximum for each 10 s of the last hour and each 4 minutes of the last 24 hours.
//! A curve takes 5 KiB: 5 MiB for 1000 nodes, at most 10 MiB ([`CURVES_MAX`]), and at most 1 MiB for marks.

mod curve;
mod marks;
mod span;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::curve::{Curve, Point};
pub use self::marks::{Kind, Mark, Marks};
pub use self::span::Span;

/// The most curves of nodes. Beyond it those of nodes that have left give way, the longest gone first; while there are more
/// nodes than this, the rest have none.
pub const CURVES_MAX: usize = 2048;

/// The load of one pool at one moment.
#[derive(Clone, Debug)]
pub struct PoolLoad {
    pub name: Arc<str>,
    /// Requests that wait for a slot or a node.
    pub waiting: u32,
    /// The nodes' names, each with its requests in flight.
    pub nodes: Vec<(Arc<str>, u32)>,
}

/// The curves of one pool.
#[derive(Debug)]
pub struct PoolCurves {
    pub name: Arc<str>,
    pub waiting: Curve,
    /// In the order in which the nodes came; one that has left stays until its curve has aged out.
    nodes: Vec<(Arc<str>, Curve)>,
    places: HashMap<Arc<str>, usize>,
}

/// Curves and marks of the last 24 hours.
#[derive(Debug)]
pub struct History {
    started: Instant,
    pools: Vec<PoolCurves>,
    marks: Marks,
}

impl History {
    /// Times are counted in seconds from `started`.
    pub fn new(started: Instant) -> Self {
        Self { started, pools: Vec::new(), marks: Marks::default() }
    }

    /// The second that `now` is in.
    pub fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    pub fn pools(&self) -> &[PoolCurves] {
        &self.pools
    }

    /// The marks, oldest first.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Takes a sample of all pools. Call it about once a second.
    pub fn sample(&mut self, loads: &[PoolLoad], now: Instant) {
        let second = self.second(now);
        for load in loads {
            let place = self.pools.iter().position(|pool| pool.name == load.name);
            let place = place.unwrap_or_else(|| {
                self.pools.push(PoolCurves::new(Arc::clone(&load.name)));
                self.pools.len() - 1
            });
            self.pools[place].waiting.record(second, load.waiting);
            for (name, in_flight) in &load.nodes {
                if self.pools[place].has(name) || self.has_room(second) {
                    self.pools[place].record(name, second, *in_flight);
                }
            }
        }
        if second.is_multiple_of(Span::Day.step()) {
            self.age(second);
        }
    }

    /// Notes that something happened.
    pub fn mark(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// The time since the start at which marks count it.
    pub fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }

    /// Another curve can be kept; one that has ended may give way to it.
    fn has_room(&mut self, second: u64) -> bool {
        if self.pools.iter().map(|pool| pool.nodes.len()).sum::<usize>() < CURVES_MAX {
            return true;
        }
        let ends = self.pools.iter().enumerate().flat_map(|(pool, curves)| {
            curves.nodes.iter().enumerate().map(move |(node, (_, curve))| (curve.last(), pool, node))
        });
        // those of this second and the one before it are not over
        let over = ends.filter(|(last, ..)| last.is_none_or(|last| last + 1 < second));
        let Some((_, pool, node)) = over.min() else { return false };
        self.pools[pool].remove(node);
        true
    }

    fn age(&mut self, second: u64) {
        let oldest = second.saturating_sub(Span::Day.seconds());
        let is_alive = |curve: &Curve| curve.last().is_some_and(|last| last >= oldest);
        for pool in &mut self.pools {
            if pool.nodes.iter().any(|(_, curve)| !is_alive(curve)) {
                pool.nodes.retain(|(_, curve)| is_alive(curve));
                pool.find_places();
            }
        }
        self.pools.retain(|pool| !pool.nodes.is_empty() || is_alive(&pool.waiting));
        self.marks.age(Duration::from_secs(oldest));
    }
}

impl PoolCurves {
    fn new(name: Arc<str>) -> Self {
        Self { name, waiting: Curve::default(), nodes: Vec::new(), places: HashMap::new() }
    }

    /// The nodes' names and curves.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Curve)> {
        self.nodes.iter().map(|(name, curve)| (name, curve))
    }

    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn record(&mut self, name: &Arc<str>, second: u64, in_flight: u32) {
        let place = self.places.entry(Arc::clone(name)).or_insert(self.nodes.len());
        if *place == self.nodes.len() {
            self.nodes.push((Arc::clone(name), Curve::default()));
        }
        self.nodes[*place].1.record(second, in_flight);
    }

    fn remove(&mut self, place: usize) {
        self.nodes.remove(place);
        self.find_places();
    }

    fn find_places(&mut self) {
        let places = self.nodes.iter().enumerate().map(|(place, (name, _))| (Arc::clone(name), place));
        self.places = places.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(nodes: &[(&str, u32)]) -> [PoolLoad; 1] {
        let nodes = nodes.iter().map(|(name, in_flight)| (Arc::from(*name), *in_flight)).collect();
        [PoolLoad { name: "p".into(), waiting: 7, nodes }]
    }

    fn names(history: &History) -> Vec<String> {
        history.pools().iter().flat_map(|pool| pool.nodes().map(|(name, _)| name.to_string())).collect()
    }

    #[test]
    fn a_node_that_leaves_keeps_its_curve_for_a_day() {
        let started = Instant::now();
        let mut history = History::new(started);
        let at = |second: u64| started + Duration::from_secs(second);
        history.sample(&load(&[("a", 1), ("b", 2)]), at(0));
        history.sample(&load(&[("a", 1)]), at(86_400));
        assert_eq!(names(&history), ["a", "b"]);
        history.sample(&load(&[("a", 1)]), at(86_400 + 240));
        assert_eq!(names(&history), ["a"]);
        // and its place is found anew
        history.sample(&load(&[("a", 5), ("b", 6)]), at(86_400 + 241));
        let pool = &history.pools()[0];
        let last: Vec<_> = pool.nodes().map(|(_, curve)| curve.point(Span::Minutes, 86_400 + 241)).collect();
        assert_eq!(last, [Some(Point { mean: 50, max: 5 }), Some(Point { mean: 60, max: 6 })]);
    }

    #[test]
    fn two_nodes_of_one_name_are_one_curve() {
        let started = Instant::now();
        let mut history = History::new(started);
        history.sample(&load(&[("a", 3), ("a", 4)]), started);
        let (_, curve) = history.pools()[0].nodes().next().expect("a curve");
        assert_eq!(curve.point(Span::Minutes, 0), Some(Point { mean: 70, max: 7 }));
    }

    #[test]
    fn curves_are_bounded_and_the_longest_gone_gives_way() {
        let started = Instant::now();
        let mut history = History::new(started);
        let many: Vec<_> = (0..CURVES_MAX + 2).map(|n| n.to_string()).collect();
        let some = |range: std::ops::Range<usize>| {
            many[range].iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()
        };
        history.sample(&load(&some(0..1)), started);
        history.sample(&load(&some(1..CURVES_MAX)), started + Duration::from_secs(1));
        assert_eq!(names(&history).len(), CURVES_MAX);
        history.sample(&load(&some(2..CURVES_MAX + 2)), started + Duration::from_secs(2));
        let kept = names(&history);
        assert_eq!(kept.len(), CURVES_MAX);
        assert!(!kept.contains(&many[0]), "it was the longest gone");
        assert!(kept.contains(&many[1]), "it has only just gone");
        assert!(kept.contains(&many[CURVES_MAX]) && !kept.contains(&many[CURVES_MAX + 1]));
    }
}
