//! The speed of one node of late: of its answers within the last minutes, and of its tokens within the last seconds.

use std::time::{Duration, Instant};

use super::quantiles::Quantiles;

/// Two windows, one after the other: what is shown is 3 to 6 minutes old at most.
const WINDOW: Duration = Duration::from_secs(180);
/// The same for tokens a second: 5 to 10 s, or a node that is idle would seem to be at work for minutes.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// From 1 ms to 17 minutes.
const FIRST_TOKEN_BASE: Duration = Duration::from_millis(1);
type FirstToken = Quantiles<40>;
/// From 0.5 ms to 2 s.
const INTER_TOKEN_BASE: Duration = Duration::from_micros(500);
type InterToken = Quantiles<24>;

/// One node's. All of it is of a fixed size, some 300 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    /// The window under way, and the one before it.
    first_token: [FirstToken; 2],
    inter_token: [InterToken; 2],
    began: Instant,
    /// All tokens of the node at two moments, the later first.
    tokens: [(Instant, u64); 2],
}

/// The speed of one node of late. `None`: it has answered nothing that would tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lately {
    /// The time to the first words of a stream since it was sent to the node: half of them, and 99 of 100, took no longer.
    pub first_token: Option<[Duration; 2]>,
    /// The mean time from one token to the next, of streams, in the same way.
    pub inter_token: Option<[Duration; 2]>,
    /// Of all of its answers together. `None`: it has never told one.
    pub tokens_per_second: Option<f64>,
}

impl Recent {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            first_token: Default::default(),
            inter_token: Default::default(),
            began: now,
            tokens: [(now, 0); 2],
        }
    }

    /// The first words of a stream have come so long after its request was sent.
    pub(crate) fn first_token(&mut self, time: Duration, now: Instant) {
        self.turn(now);
        self.first_token[0].observe(time, FIRST_TOKEN_BASE);
    }

    /// A stream has ended whose tokens had this distance.
    pub(crate) fn inter_token(&mut self, time: Duration, now: Instant) {
        self.turn(now);
        self.inter_token[0].observe(time, INTER_TOKEN_BASE);
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age < WINDOW {
            return;
        }
        let is_next = age < 2 * WINDOW;
        self.began = if is_next { self.began + WINDOW } else { now };
        self.first_token.swap(0, 1);
        self.inter_token.swap(0, 1);
        self.first_token[0].clear();
        self.inter_token[0].clear();
        if !is_next {
            self.first_token[1].clear();
            self.inter_token[1].clear();
        }
    }

    /// The node has made so many tokens up to now. Call it often: about once a second.
    pub(crate) fn note_tokens(&mut self, total: u64, now: Instant) {
        if now.saturating_duration_since(self.tokens[0].0) >= RATE_WINDOW {
            self.tokens = [(now, total), self.tokens[0]];
        }
    }

    /// `total`: the tokens that the node has made up to now.
    pub(crate) fn lately(&self, total: u64, now: Instant) -> Lately {
        let age = now.saturating_duration_since(self.began);
        let (since, before) = self.tokens[1];
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let rate = || total.saturating_sub(before) as f64 / seconds;
        Lately {
            first_token: quantiles(&self.first_token, FIRST_TOKEN_BASE, age),
            inter_token: quantiles(&self.inter_token, INTER_TOKEN_BASE, age),
            tokens_per_second: (total > 0 && seconds > 0.0).then(rate),
        }
    }
}

/// `age`: of the window under way. As long as no answer has come, nothing has moved it on: it may be too old to be shown.
fn quantiles<const N: usize>(
    windows: &[Quantiles<N>; 2],
    base: Duration,
    age: Duration,
) -> Option<[Duration; 2]> {
    let [last, before] = windows;
    let before = match age {
        _ if age >= 2 * WINDOW => return None,
        // counted twice it has the same quantiles
        _ if age >= WINDOW => last,
        _ => before,
    };
    let of = |part| Quantiles::of([last, before], part, base);
    Some([of(0.5)?, of(0.99)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn millis(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn it_fits_beside_a_node() {
        assert!(size_of::<Recent>() <= 320, "{}", size_of::<Recent>());
    }

    #[test]
    fn what_is_minutes_old_is_forgotten() {
        let began = Instant::now();
        let mut recent = Recent::new(began);
        assert_eq!(recent.lately(0, began + MINUTE), Lately::default());
        recent.first_token(millis(100), began);
        recent.inter_token(millis(10), began);
        let shown = |recent: &Recent, after: Duration| {
            let told = recent.lately(0, began + after).first_token.map(|[half, _]| half.as_millis());
            told.map(|half| if half < 500 { "quick" } else { "slow" })
        };
        for minutes in [0, 2, 3, 5] {
            assert_eq!(shown(&recent, minutes * MINUTE), Some("quick"), "{minutes}");
        }
        assert_eq!(shown(&recent, 6 * MINUTE), None, "nothing has come since");
        recent.first_token(millis(1000), began + 4 * MINUTE);
        recent.first_token(millis(1000), began + 4 * MINUTE);
        assert_eq!(shown(&recent, 5 * MINUTE), Some("slow"), "the greater part");
        recent.first_token(millis(1000), began + 7 * MINUTE);
        assert_eq!(shown(&recent, 7 * MINUTE), Some("slow"));
        assert!(recent.lately(0, began + 7 * MINUTE).inter_token.is_none(), "its window is over");
        recent.first_token(millis(100), began + 60 * MINUTE);
        assert_eq!(shown(&recent, 60 * MINUTE), Some("quick"), "nothing is left of an hour ago");
    }

    #[test]
    fn tokens_a_second_follow_what_is_done_now() {
        let began = Instant::now();
        let mut recent = Recent::new(began);
        let mut total = 0;
        for second in 1..=60 {
            total += if second <= 30 { 100 } else { 0 };
            let now = began + Duration::from_secs(second);
            recent.note_tokens(total, now);
            let rate = recent.lately(total, now).tokens_per_second.expect("some");
            match second {
                1..=30 => assert!((99.0..=101.0).contains(&rate), "{rate} at {second}"),
                41.. => assert_eq!(rate, 0.0, "at {second}"),
                _ => {}
            }
        }
    }
}
