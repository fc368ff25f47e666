//! The end of a request whose deadline has passed: no node gets it any more.

use std::time::Instant;

use super::ending::{Ending, Failure};
use super::seek::Seek;
use super::state::Journey;

const PASSED: &str = "the deadline of the request has passed";

impl<H> Journey<H> {
    /// The time after which nobody needs the answer, unless that has begun by then. Call it before the first search.
    pub fn set_due(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// The time at which an attempt ends that has no answer so far. What goes on in the client's hands is not cut.
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.has_begun())
    }

    /// The deadline has passed of an attempt that has no answer.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| now >= due)
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// No better response will come in time: the client gets the one that was held back, or else 504.
    pub(super) fn too_late(&mut self) -> Result<H, Ending> {
        let Some(fallback) = self.fallback.take() else { return Err(self.overdue()) };
        self.denials.iter_mut().for_each(|denials| denials.doubts.withdraw());
        self.note = Some(PASSED);
        Ok(fallback)
    }

    fn overdue(&mut self) -> Ending {
        let ending = self.broken("not resumed: the deadline of the request has passed");
        ending.unwrap_or_else(|| {
            self.note = Some(PASSED);
            let pool = self.member.pool.name();
            Ending::Failed(Failure::new(504, format!("pool {pool}: {PASSED}")))
        })
    }
}

impl<H> Seek<H> {
    /// The search goes on at this time at the latest.
    pub(super) fn until(mut self, due: Option<Instant>) -> Self {
        if let (Self::Pause { until } | Self::Wait { until, .. }, Some(due)) = (&mut self, due) {
            *until = due.min(*until);
        }
        self
    }
}
