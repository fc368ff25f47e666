//! The least-in-flight policy as a Pingora selection algorithm.
//!
//! The gateway itself does not choose this way: here choosing a backend and taking a slot on it are two steps, so that
//! under races two choices can see the same count. Whoever runs Pingora's own `LoadBalancer` can use it all the same:
//! put an [`InFlight`] into each backend's `ext`, and count up and down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use crate::balance::{Candidate, Candidates, Tier, Turn, choose};
use crate::config::Balance;

/// The requests that a backend has now; lives in its `ext`.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicU32>);

impl InFlight {
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Backends, the one with the fewest requests in relation to its weight first.
pub struct LeastInFlight {
    backends: Box<[Backend]>,
    cursor: AtomicUsize,
}

/// One order of preference.
pub struct ByLoad {
    selection: Arc<LeastInFlight>,
    order: std::vec::IntoIter<usize>,
}

impl BackendSelection for LeastInFlight {
    type Iter = ByLoad;
    type Config = ();

    fn build(backends: &BTreeSet<Backend>) -> Self {
        Self { backends: backends.iter().cloned().collect(), cursor: AtomicUsize::new(0) }
    }

    fn iter(self: &Arc<Self>, _key: &[u8]) -> ByLoad {
        let candidate = |backend: &Backend| Candidate {
            in_flight: backend.ext.get::<InFlight>().map_or(0, |count| count.0.load(Ordering::Acquire)),
            elsewhere: 0,
            work: None,
            limit: u32::MAX,
            inverse_rate: 1.0 / backend.weight.max(1) as f64,
            tier: Tier::Usable,
            turn: Candidate::NO_TURN,
            name: 0,
        };
        let mut candidates: Candidates = self.backends.iter().map(candidate).collect();
        let mut turn =
            Turn::starting_at(self.cursor.fetch_add(1, Ordering::Relaxed) % self.backends.len().max(1));
        let mut order = Vec::with_capacity(candidates.len());
        while let Some(next) =
            choose(Balance::LeastInFlight, &mut candidates, Tier::Usable, &[], &mut turn, 0.0)
        {
            candidates.update(next, |candidate| candidate.tier = Tier::Never);
            order.push(next);
        }
        ByLoad { selection: Arc::clone(self), order: order.into_iter() }
    }
}

impl BackendIter for ByLoad {
    fn next(&mut self) -> Option<&Backend> {
        self.selection.backends.get(self.order.next()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora_load_balancing::{Backends, LoadBalancer, discovery};

    fn backend(port: u16, weight: usize) -> Backend {
        let mut backend = Backend::new_with_weight(&format!("127.0.0.1:{port}"), weight).unwrap();
        backend.ext.insert(InFlight::default());
        backend
    }

    #[test]
    fn pingoras_load_balancer_selects_by_requests_in_flight() {
        let backends = BTreeSet::from([backend(1, 1), backend(2, 3)]);
        let balancer: LoadBalancer<LeastInFlight> =
            LoadBalancer::from_backends(Backends::new(discovery::Static::new(backends)));
        block_on(balancer.update()).expect("static backends");
        let mut counts = [0_u32; 2];
        for _ in 0..400 {
            let chosen = balancer.select(b"", 8).expect("two backends");
            chosen.ext.get::<InFlight>().expect("put in above").up();
            counts[usize::from(chosen.addr.as_inet().expect("an address").port() - 1)] += 1;
        }
        assert_eq!(counts, [100, 300]);
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }
}
