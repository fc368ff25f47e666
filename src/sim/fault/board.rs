//! The faults armed on a simulated node, and the choice of the requests that they strike.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Fault, FaultKind};
use crate::mix::mix;

/// A list of faults; each request gets the first that strikes it. A script such as "one reset, then two
/// 500s" is therefore a list of faults with `times`.
#[derive(Default)]
pub(crate) struct FaultBoard {
    armed: Mutex<Vec<Armed>>,
    /// True if any fault is armed; saves a healthy node the lock.
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

    /// Appends a fault.
    pub(crate) fn add(&self, fault: Fault) {
        let mut armed = self.armed.lock();
        armed.push(Armed { fault, seen: 0, struck: 0 });
        self.any.store(true, Ordering::Release);
    }

    /// The armed faults, each with its remaining `times`.
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

    /// The number of requests struck so far.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// The fault that strikes the next request, if any. With `stale`, only stale-connection faults are
    /// considered, without it all others: the former are asked before the request is read.
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
        // 53 bits keep the number below 1, so that a probability of 1 always strikes.
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
    fn a_list_of_faults_with_times_is_a_script() {
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
    fn the_share_of_struck_requests_matches_the_probability() {
        let count = |text| strikes(&board(&[text]), 1000).iter().flatten().count();
        assert!((200..400).contains(&count("hang,probability=0.3")));
        assert_eq!(count("hang,probability=0"), 0);
        assert_eq!(count("hang,probability=1"), 1000);
    }

    #[test]
    fn stale_faults_are_chosen_separately() {
        let board = board(&["stale,times=1"]);
        assert_eq!(board.strike(false), None);
        assert_eq!(board.strike(true), Some(FaultKind::Stale));
        assert_eq!(board.strike(true), None);
    }
}
