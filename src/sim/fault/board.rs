//! The faults that are armed on a node, and whom they strike next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::super::text::mix;
use super::{Fault, FaultKind};

/// A list of faults; the first that strikes a request is the one it gets. So a script such as
/// "one reset, then two 500s" is a list of faults with `times`.
#[derive(Default)]
pub(crate) struct FaultBoard {
    armed: Mutex<Vec<Armed>>,
    /// Spares a healthy node the lock.
    any: AtomicBool,
    struck: AtomicU64,
}

struct Armed {
    fault: Fault,
    seen: u64,
    struck: u64,
}

impl FaultBoard {
    /// Replaces all faults by these.
    pub(crate) fn set(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut armed = self.armed.lock();
        armed.clear();
        armed.extend(faults.into_iter().map(|fault| Armed { fault, seen: 0, struck: 0 }));
        self.any.store(!armed.is_empty(), Ordering::Release);
    }

    /// Adds a fault behind the others.
    pub(crate) fn add(&self, fault: Fault) {
        let mut armed = self.armed.lock();
        armed.push(Armed { fault, seen: 0, struck: 0 });
        self.any.store(true, Ordering::Release);
    }

    /// The armed faults, with the `times` that are left.
    pub(crate) fn list(&self) -> Vec<Fault> {
        let armed = self.armed.lock();
        armed
            .iter()
            .map(|armed| Fault {
                times: armed.fault.times.map(|times| times - armed.struck),
                ..armed.fault.clone()
            })
            .collect()
    }

    /// How many requests were struck.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Whether and how the next request fails. `stale` decides for the faults of a connection that
    /// closes as the request arrives, which are asked first and apart.
    pub(crate) fn strike(&self, stale: bool) -> Option<FaultKind> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut armed = self.armed.lock();
        let due = |armed: &&mut Armed| (armed.fault.kind == FaultKind::Stale) == stale;
        let kind = armed.iter_mut().filter(due).find_map(Armed::strike)?;
        armed.retain(|armed| armed.fault.times != Some(armed.struck));
        self.any.store(!armed.is_empty(), Ordering::Release);
        self.struck.fetch_add(1, Ordering::Relaxed);
        Some(kind)
    }
}

impl Armed {
    fn strike(&mut self) -> Option<FaultKind> {
        if self.fault.times == Some(self.struck) {
            return None;
        }
        self.seen += 1;
        // Of 53 bits, so that it is below 1 and a probability of 1 always strikes.
        let draw = (mix(self.seen) >> 11) as f64 / (1_u64 << 53) as f64;
        if !self.seen.is_multiple_of(self.fault.every) || draw >= self.fault.probability {
            return None;
        }
        self.struck += 1;
        Some(self.fault.kind.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(faults: &[&str]) -> FaultBoard {
        let board = FaultBoard::default();
        board.set(faults.iter().map(|text| text.parse().unwrap()));
        board
    }

    fn strikes(board: &FaultBoard, requests: usize) -> Vec<Option<FaultKind>> {
        (0..requests).map(|_| board.strike(false)).collect()
    }

    #[test]
    fn faults_with_times_make_a_script() {
        let board = board(&["reset,times=1", "hang,times=2"]);
        let (reset, hang) = (Some(FaultKind::Reset), Some(FaultKind::Hang));
        assert_eq!(strikes(&board, 4), [reset, hang.clone(), hang, None]);
        assert_eq!(board.struck(), 3);
        assert!(board.list().is_empty());
    }

    #[test]
    fn every_third_request() {
        let struck: Vec<bool> = strikes(&board(&["hang,every=3"]), 6).iter().map(Option::is_some).collect();
        assert_eq!(struck, [false, false, true, false, false, true]);
    }

    #[test]
    fn about_as_many_as_the_probability_says() {
        let count = |text| strikes(&board(&[text]), 1000).iter().flatten().count();
        assert!((200..400).contains(&count("hang,probability=0.3")));
        assert_eq!(count("hang,probability=0"), 0);
        assert_eq!(count("hang,probability=1"), 1000);
    }

    #[test]
    fn stale_faults_are_asked_apart() {
        let board = board(&["stale,times=1"]);
        assert_eq!(board.strike(false), None);
        assert_eq!(board.strike(true), Some(FaultKind::Stale));
        assert_eq!(board.strike(true), None);
    }
}
