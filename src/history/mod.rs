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

/// The most curves, of nodes and of pools together. Beyond it those of nodes and pools that have left give way, the longest gone
/// first; while there are more than this, the rest have none.
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
#[derive(Clone, Debug)]
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
    /// The second of the last sample.
    sampled: Option<u64>,
    pools: Vec<PoolCurves>,
    marks: Marks,
}

impl History {
    /// Times are counted in seconds from `started`.
    pub fn new(started: Instant) -> Self {
        Self { started, sampled: None, pools: Vec::new(), marks: Marks::default() }
    }

    /// The second that `now` is in.
    pub fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    pub fn pools(&self) -> &[PoolCurves] {
        &self.pools
    }

    /// A copy without marks: some 5 KiB for each curve, so that the history need not be locked while text is made of them.
    pub fn curves(&self) -> Self {
        let (started, sampled) = (self.started, self.sampled);
        Self { started, sampled, pools: self.pools.clone(), marks: Marks::default() }
    }

    /// A copy without curves.
    pub fn without_curves(&self) -> Self {
        let (started, sampled) = (self.started, self.sampled);
        Self { started, sampled, pools: Vec::new(), marks: self.marks.clone() }
    }

    /// The marks, oldest first.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Takes a sample of all pools. Call it about once a second.
    pub fn sample(&mut self, loads: &[PoolLoad], now: Instant) {
        let second = self.second(now);
        for load in loads {
            let Some(mut place) = self.place(&load.name) else { continue };
            self.pools[place].waiting.record(second, load.waiting);
            for (name, in_flight) in &load.nodes {
                if !self.pools[place].has(name) {
                    if !self.has_room() {
                        continue;
                    }
                    // a pool that gave way may have stood before it
                    let Some(found) = self.place(&load.name) else { break };
                    place = found;
                }
                self.pools[place].record(name, second, *in_flight);
            }
        }
        self.sampled = Some(second);
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

    /// The place of a pool of this name, if there is room for it.
    fn place(&mut self, name: &Arc<str>) -> Option<usize> {
        let place = self.pools.iter().position(|pool| pool.name == *name);
        if place.is_some() || !self.has_room() {
            return place;
        }
        self.pools.push(PoolCurves::new(Arc::clone(name)));
        Some(self.pools.len() - 1)
    }

    /// Another curve can be kept; one that has ended may give way to it.
    fn has_room(&mut self) -> bool {
        if self.pools.iter().map(|pool| pool.nodes.len() + 1).sum::<usize>() < CURVES_MAX {
            return true;
        }
        let ends = self.pools.iter().enumerate().flat_map(|(place, pool)| {
            let nodes = pool.nodes.iter().enumerate();
            let own = pool.nodes.is_empty().then(|| (pool.waiting.last(), place, None));
            nodes.map(move |(node, (_, curve))| (curve.last(), place, Some(node))).chain(own)
        });
        // those of the last sample, and of this, are not over
        let over = ends.filter(|(last, ..)| *last < self.sampled);
        match over.min() {
            None => return false,
            Some((_, pool, Some(node))) => self.pools[pool].remove(node),
            Some((_, pool, None)) => drop(self.pools.remove(pool)),
        }
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
        // the pool has a curve of its own
        const NODES: usize = CURVES_MAX - 1;
        let started = Instant::now();
        let mut history = History::new(started);
        let many: Vec<_> = (0..NODES + 2).map(|n| n.to_string()).collect();
        let some = |range: std::ops::Range<usize>| {
            many[range].iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()
        };
        history.sample(&load(&some(0..1)), started);
        history.sample(&load(&some(1..NODES)), started + Duration::from_secs(1));
        assert_eq!(names(&history).len(), NODES);
        history.sample(&load(&some(2..NODES + 2)), started + Duration::from_secs(2));
        let kept = names(&history);
        assert_eq!(kept.len(), NODES);
        assert!(!kept.contains(&many[0]), "it was the longest gone");
        assert!(kept.contains(&many[1]), "it has only just gone");
        assert!(kept.contains(&many[NODES]) && !kept.contains(&many[NODES + 1]));
    }

    /// A pool of this name with these nodes.
    fn named(name: String, nodes: std::ops::Range<usize>) -> PoolLoad {
        let nodes = nodes.map(|node| (node.to_string().into(), 1)).collect();
        PoolLoad { name: name.into(), waiting: 0, nodes }
    }

    #[test]
    fn pools_are_bounded_too() {
        let started = Instant::now();
        let mut history = History::new(started);
        for second in 0..2 * CURVES_MAX as u64 {
            history.sample(&[named(second.to_string(), 0..1)], started + Duration::from_secs(second));
        }
        let curves = |history: &History| history.pools().len() + names(history).len();
        assert_eq!(curves(&history), CURVES_MAX);
        let last = (2 * CURVES_MAX - 1).to_string();
        assert!(history.pools().iter().any(|pool| *pool.name == *last), "the longest gone gave way");
        let many: Vec<_> = (0..2 * CURVES_MAX).map(|pool| named(format!("new {pool}"), 0..0)).collect();
        history.sample(&many, started + Duration::from_secs(86_400));
        assert_eq!(curves(&history), CURVES_MAX);
    }

    #[test]
    fn a_second_without_a_sample_makes_no_node_older() {
        let started = Instant::now();
        let mut history = History::new(started);
        let mut all = [named("p".to_owned(), 0..CURVES_MAX + 5)];
        let mut kept = None;
        for second in [0, 3, 3, 9, 10] {
            history.sample(&all, started + Duration::from_secs(second));
            // those that have no curve come first
            all[0].nodes.reverse();
            let names = names(&history);
            assert_eq!(*kept.get_or_insert_with(|| names.clone()), names, "at {second}");
        }
    }

    #[test]
    fn copies_have_the_same_times_and_half_of_it_each() {
        let started = Instant::now();
        let mut history = History::new(started);
        history.sample(&load(&[("a", 3)]), started + Duration::from_secs(2));
        history.mark(Mark::reload(Ok(2), Duration::from_secs(1)));
        let (curves, marks) = (history.curves(), history.without_curves());
        let now = started + Duration::from_secs(9);
        assert_eq!([curves.second(now), marks.second(now)], [9, 9]);
        assert_eq!((names(&curves), curves.marks().last()), (vec!["a".to_owned()], 0));
        let (_, curve) = curves.pools()[0].nodes().next().expect("a curve");
        assert_eq!(curve.point(Span::Minutes, 2), Some(Point { mean: 30, max: 3 }));
        assert_eq!((names(&marks).len(), marks.marks().after(0).count()), (0, 1));
    }
}
