//! The line in front of a node that said it is full: how many of the requests that wait there may ask it again.
//!
//! All of them asking at once would keep a full engine busy with refusals. So one asks when the node's time is
//! over, and twice as many each time that nothing was refused since; an answer that ends lets one more ask.

use std::time::{Duration, Instant};

use super::health::{BUSY_HOLD, BUSY_HOLD_MAX};

/// From so many requests at a time on, the node is open to all.
const STEP_OPEN: u32 = 64;

/// The line of one node, from the first answer that said "full" until it has taken in many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// The number of the last attempt that began before the node said it is full.
    last_ticket: u64,
    /// The time at which the node may be asked again, whatever ends meanwhile.
    next: Instant,
    /// Requests that may ask it now.
    asks: u32,
    /// Requests that may ask it when the time is over.
    step: u32,
}

impl Line {
    /// The node said it is full, and perhaps for how long.
    pub(super) fn new(last_ticket: u64, retry_after: Option<Duration>, now: Instant) -> Self {
        let hold = retry_after.unwrap_or(BUSY_HOLD).min(BUSY_HOLD_MAX);
        Self { last_ticket, next: now + hold, asks: 0, step: 1 }
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.asks > 0 || now >= self.next
    }

    /// The time at which it opens; `None` while it is open.
    pub(super) fn opens(&self, now: Instant) -> Option<Instant> {
        (!self.is_open(now)).then_some(self.next)
    }

    /// A waiting request asks the node. The line that is left; `None`: the node has shown that it has room.
    pub(super) fn ask(mut self, now: Instant) -> Option<Self> {
        if now >= self.next {
            if self.step >= STEP_OPEN {
                return None;
            }
            self.asks = self.step;
            self.step *= 2;
            self.next = now + BUSY_HOLD;
        }
        self.asks = self.asks.saturating_sub(1);
        Some(self)
    }

    /// The node has answered an attempt. An older one leaves its place to another; one that asked since shows
    /// that there was room, and perhaps for two.
    pub(super) fn answered(&mut self, ticket: u64) {
        let more = if ticket > self.last_ticket { 2 } else { 1 };
        self.asks = (self.asks + more).min(STEP_OPEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// As many as ask now, each of them without an answer so far.
    fn asked(line: &mut Option<Line>, now: Instant) -> usize {
        let mut count = 0;
        while count < 1000
            && let Some(open) = line.as_ref().filter(|line| line.is_open(now))
        {
            *line = open.ask(now);
            count += 1;
        }
        if line.is_none() { 1000 } else { count }
    }

    #[test]
    fn one_asks_when_the_time_is_over_and_twice_as_many_while_none_is_refused() {
        let now = Instant::now();
        let mut line = Some(Line::new(7, None, now));
        assert_eq!(line.and_then(|line| line.opens(now)), Some(now + SECOND));
        let counts: Vec<_> = (0..9_u32).map(|second| asked(&mut line, now + SECOND * second)).collect();
        assert_eq!(counts, [0, 1, 2, 4, 8, 16, 32, 1000, 1000], "in the end it is open to all");
    }

    #[test]
    fn a_node_that_is_still_full_is_asked_once_each_time() {
        let start = Instant::now();
        for (retry_after, seconds) in [(None, 1), (Some(SECOND * 3), 3), (Some(SECOND * 300), 30)] {
            let (mut now, mut asks) = (start, 0);
            let mut line = Some(Line::new(0, retry_after, now));
            for _ in 0..5 {
                now += SECOND * seconds;
                asks += asked(&mut line, now);
                line = Some(Line::new(0, retry_after, now));
            }
            assert_eq!(asks, 5, "{retry_after:?}");
        }
    }

    #[test]
    fn each_answer_lets_others_ask() {
        let now = Instant::now();
        let mut line = Line::new(7, None, now);
        line.answered(7);
        let mut line = Some(line);
        assert_eq!(asked(&mut line, now), 1, "its place is free");
        line.as_mut().expect("still a line").answered(8);
        assert_eq!(asked(&mut line, now), 2, "it had room");
    }
}
