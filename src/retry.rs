//! The retry decision: after each attempt, try another node or stop, and the reason.

use std::time::{Duration, Instant};

use crate::config::Retry;
use crate::outcome::Outcome;

/// Deaths within this time of each other count as one: two nodes killed at the same moment did not both die
/// of this request. After a second death in the burst, the request waits until this time has passed. The
/// remaining nodes may be dying, too, and might accept connections only to reset them, which would use up all
/// attempts within milliseconds.
pub const DEATH_BURST: Duration = Duration::from_secs(1);
/// The number of deaths after which a request gets no further node; a burst counts once.
pub const DEATHS_MAX: u32 = 2;
/// A request that kills nodes does so soon after it is sent. One that had run for longer than this is
/// presumed innocent: its node died of something else, and so may the next.
pub const SUSPECT_WITHIN: Duration = Duration::from_secs(30);
/// A kept-alive connection that closes within this time of sending, before any byte of a response, was
/// already closed: the node never received the request.
pub const STALE_WITHIN: Duration = Duration::from_secs(1);

/// The deaths of nodes that had this request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// The deaths that the request may be to blame for.
    count: u32,
    /// The time of the last death.
    last: Option<Instant>,
    /// The time at which the last death was noticed, if it was in one burst with the death before it.
    together: Option<Instant>,
}

impl Deaths {
    pub fn count(self) -> u32 {
        self.count
    }

    /// Adds the death of a node that died at `died`, when the request had been there for `at_work`; noticed
    /// at `now`.
    #[must_use]
    pub fn with(self, at_work: Duration, died: Instant, now: Instant) -> Self {
        let together = self.last.is_some_and(|last| died.saturating_duration_since(last) <= DEATH_BURST);
        let suspect = !together && at_work <= SUSPECT_WITHIN;
        Self {
            count: self.count + u32::from(suspect),
            last: self.last.max(Some(died)),
            together: together.then_some(now),
        }
    }

    /// The end of the pause before the request gets another node, at most `longest` away. `None`: no pause.
    pub fn pause_ends(self, longest: Duration, now: Instant) -> Option<Instant> {
        let ends = self.together? + DEATH_BURST.min(longest);
        (now < ends).then_some(ends)
    }
}

/// The history of a request, as far as the retry decision depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The outcome of the last attempt.
    pub outcome: Outcome,
    /// The status code of the last attempt, if it got that far.
    pub status: Option<u16>,
    /// The number of times the request was sent. Refused connections do not count.
    pub sent: u32,
    /// Deaths so far, including the last attempt; see [`Deaths`].
    pub deaths: u32,
    pub repeat: Repeat,
}

/// Permission to send a request more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Allowed,
    /// The method may not be repeated on this path.
    Method,
    /// The body is not kept on the path that the request takes.
    Once,
}

/// The decision after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try the next node.
    Retry(RetryReason),
    /// Try the same node on a fresh connection.
    Fresh,
    /// Give the client the result as it is.
    Stop(StopReason),
}

/// The reason for trying another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    Connect,
    Stale,
    Reset,
    Timeout,
    Http5xx,
    Busy,
    Truncated,
    EngineError,
    Stalled,
    /// Another status code that `retry.on` lists.
    Status,
    /// 401, 403 or 404, which the next node may not say.
    Denied,
}

impl RetryReason {
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::Stale,
        Self::Reset,
        Self::Timeout,
        Self::Http5xx,
        Self::Busy,
        Self::Truncated,
        Self::EngineError,
        Self::Stalled,
        Self::Status,
        Self::Denied,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Stale => "stale",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Http5xx => "http_5xx",
            Self::Busy => "busy",
            Self::Truncated => "truncated",
            Self::EngineError => "engine_error",
            Self::Stalled => "stalled",
            Self::Status => "status",
            Self::Denied => "denied",
        }
    }
}

/// The reason for not trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The request was answered.
    Answered,
    /// The client left.
    ClientGone,
    /// `retry.on` does not list this failure.
    NotListed,
    /// The method may not be repeated on this path.
    NotRepeatable,
    /// All `retry.attempts` are used up.
    AttemptsUsed,
    /// The body was not kept: a protocol switch, or a body above `retry.body_limit`.
    SentOnce,
    /// Nodes died of the request in two separate events.
    KillsNodes,
    /// The gateway itself is out of files or memory.
    Gateway,
}

impl StopReason {
    /// The wording for people, in logs and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ClientGone => "the client left",
            Self::NotListed => "retry.on does not list it",
            Self::NotRepeatable => "the method may not be repeated on this path",
            Self::AttemptsUsed => "retry.attempts are used up",
            Self::SentOnce => "requests of this kind are sent only once",
            Self::KillsNodes => "nodes crashed on this request",
            Self::Gateway => "the gateway is out of files or memory",
        }
    }
}

/// Decides what follows an attempt. Only for requests whose client has received no byte of a response.
pub fn decide(policy: &Retry, facts: &Facts) -> Verdict {
    let (reason, listed) = match facts.outcome {
        Outcome::ClientGone => return Verdict::Stop(StopReason::ClientGone),
        Outcome::Gateway => return Verdict::Stop(StopReason::Gateway),
        Outcome::Ok => match facts.status {
            Some(code) if policy.on.status(code) => (RetryReason::Status, true),
            _ => return Verdict::Stop(StopReason::Answered),
        },
        Outcome::Connect => (RetryReason::Connect, policy.on.error),
        Outcome::Stale => (RetryReason::Stale, true),
        Outcome::Reset => (RetryReason::Reset, policy.on.error),
        Outcome::Truncated => (RetryReason::Truncated, policy.on.error),
        Outcome::EngineError | Outcome::Aborted => (RetryReason::EngineError, policy.on.error),
        Outcome::Timeout => (RetryReason::Timeout, policy.on.timeout),
        Outcome::Stalled => (RetryReason::Stalled, policy.on.timeout),
        Outcome::Http5xx => (RetryReason::Http5xx, facts.status.is_some_and(|code| policy.on.status(code))),
        Outcome::Busy => (RetryReason::Busy, facts.status.is_some_and(|code| policy.on.status(code))),
    };
    let untouched = facts.outcome == Outcome::Connect;
    if !listed {
        Verdict::Stop(StopReason::NotListed)
    } else if untouched {
        // no node has seen the request: safe whatever the method, and no attempt is used up
        Verdict::Retry(reason)
    } else if facts.repeat == Repeat::Method {
        Verdict::Stop(StopReason::NotRepeatable)
    } else if facts.repeat == Repeat::Once {
        Verdict::Stop(StopReason::SentOnce)
    } else if facts.outcome == Outcome::Stale {
        Verdict::Fresh
    } else if facts.deaths >= DEATHS_MAX {
        Verdict::Stop(StopReason::KillsNodes)
    } else if facts.sent >= policy.attempts && facts.outcome != Outcome::Busy {
        Verdict::Stop(StopReason::AttemptsUsed)
    } else {
        Verdict::Retry(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RetryOn;

    fn policy() -> Retry {
        Retry {
            on: RetryOn { error: true, timeout: true, statuses: [429, 500, 502, 503, 504].into() },
            attempts: 3,
            wait: Duration::ZERO,
            body_limit: 0,
            body_total: 0,
            methods: ["POST".to_owned()].into(),
            paths: Vec::new(),
            resume: false,
            resume_max: 1,
            resume_text_max: 0,
        }
    }

    fn facts(outcome: Outcome, status: Option<u16>) -> Facts {
        Facts { outcome, status, sent: 1, deaths: 0, repeat: Repeat::Allowed }
    }

    #[test]
    fn outcomes_that_go_to_another_node() {
        let table = [
            (Outcome::Ok, Some(200), Verdict::Stop(StopReason::Answered)),
            (Outcome::Ok, Some(404), Verdict::Stop(StopReason::Answered)),
            (Outcome::Ok, Some(501), Verdict::Stop(StopReason::Answered)),
            (Outcome::Connect, None, Verdict::Retry(RetryReason::Connect)),
            (Outcome::Stale, None, Verdict::Fresh),
            (Outcome::Reset, None, Verdict::Retry(RetryReason::Reset)),
            (Outcome::Timeout, None, Verdict::Retry(RetryReason::Timeout)),
            (Outcome::Http5xx, Some(500), Verdict::Retry(RetryReason::Http5xx)),
            (Outcome::Http5xx, Some(507), Verdict::Stop(StopReason::NotListed)),
            (Outcome::Busy, Some(503), Verdict::Retry(RetryReason::Busy)),
            (Outcome::Busy, Some(429), Verdict::Retry(RetryReason::Busy)),
            (Outcome::Truncated, Some(200), Verdict::Retry(RetryReason::Truncated)),
            (Outcome::Stalled, Some(200), Verdict::Retry(RetryReason::Stalled)),
            (Outcome::EngineError, Some(200), Verdict::Retry(RetryReason::EngineError)),
            (Outcome::ClientGone, None, Verdict::Stop(StopReason::ClientGone)),
            (Outcome::Gateway, None, Verdict::Stop(StopReason::Gateway)),
        ];
        for (outcome, status, want) in table {
            assert_eq!(decide(&policy(), &facts(outcome, status)), want, "{outcome} {status:?}");
        }
    }

    #[test]
    fn a_refused_connection_uses_no_attempt_and_allows_any_method() {
        let refused = Facts { sent: 99, repeat: Repeat::Once, ..facts(Outcome::Connect, None) };
        assert_eq!(decide(&policy(), &refused), Verdict::Retry(RetryReason::Connect));
    }

    #[test]
    fn limits() {
        let reset = facts(Outcome::Reset, None);
        let cases = [
            (Facts { sent: 2, ..reset }, Verdict::Retry(RetryReason::Reset)),
            (Facts { sent: 3, ..reset }, Verdict::Stop(StopReason::AttemptsUsed)),
            (Facts { deaths: 2, ..reset }, Verdict::Stop(StopReason::KillsNodes)),
            (Facts { repeat: Repeat::Method, ..reset }, Verdict::Stop(StopReason::NotRepeatable)),
            (Facts { repeat: Repeat::Once, ..reset }, Verdict::Stop(StopReason::SentOnce)),
        ];
        for (facts, want) in cases {
            assert_eq!(decide(&policy(), &facts), want, "{facts:?}");
        }
    }

    #[test]
    fn deaths_count_once_a_burst_and_only_soon_after_sending() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let soon = Duration::from_secs(2);
        let one = Deaths::default().with(soon, at(0), at(0));
        assert_eq!(one.count(), 1);
        assert_eq!(one.with(soon, at(1000), at(1000)).count(), 1, "two nodes killed together count once");
        assert_eq!(one.with(soon, at(1001), at(1001)).count(), 2);
        assert_eq!(one.with(SUSPECT_WITHIN, at(60_000), at(60_000)).count(), 2);
        let long = SUSPECT_WITHIN + Duration::from_millis(1);
        let other = one.with(long, at(60_000), at(60_000));
        assert_eq!(other.count(), 1, "the request had run for too long to be suspected");
        assert_eq!(
            other.with(soon, at(60_001), at(60_001)).count(),
            1,
            "the next death belongs to the same burst"
        );
    }

    #[test]
    fn two_deaths_in_one_burst_are_followed_by_a_pause() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let (soon, wait) = (Duration::from_millis(2), Duration::from_secs(60));
        let pause = |deaths: Deaths, now| deaths.pause_ends(wait, at(now));
        let one = Deaths::default().with(soon, at(0), at(0));
        assert_eq!(pause(one, 0), None, "one death needs no pause");
        assert_eq!(pause(one.with(soon, at(1001), at(1001)), 1001), None);
        let two = one.with(soon, at(5), at(5));
        assert_eq!(two.count(), 1);
        assert_eq!([5, 1004, 1005].map(|now| pause(two, now)), [Some(at(1005)), Some(at(1005)), None]);
        assert_eq!(two.pause_ends(Duration::from_millis(300), at(5)), Some(at(305)), "retry.wait is shorter");
        assert_eq!(two.pause_ends(Duration::ZERO, at(5)), None);
        let three = two.with(soon, at(1006), at(1006));
        assert_eq!((three.count(), pause(three, 1006)), (2, None), "a second burst: the request is to blame");
        let late = one.with(soon, at(5), at(1500));
        assert_eq!((late.count(), pause(late, 1500)), (1, Some(at(2500))), "noticed late");
        // also if the request had run for long, as a batch has
        let long = SUSPECT_WITHIN + Duration::from_millis(1);
        let two = Deaths::default().with(long, at(0), at(0)).with(soon, at(5), at(5));
        assert_eq!((two.count(), pause(two, 5)), (0, Some(at(1005))));
    }

    #[test]
    fn off_means_off() {
        let mut policy = policy();
        policy.on = RetryOn { error: false, timeout: false, statuses: [].into() };
        for outcome in [Outcome::Connect, Outcome::Reset, Outcome::Timeout, Outcome::Http5xx, Outcome::Busy] {
            let verdict = decide(&policy, &facts(outcome, Some(500)));
            assert_eq!(verdict, Verdict::Stop(StopReason::NotListed), "{outcome}");
        }
    }

    #[test]
    fn a_listed_4xx_is_tried_elsewhere() {
        let mut policy = policy();
        policy.on.statuses.insert(404);
        assert_eq!(decide(&policy, &facts(Outcome::Ok, Some(404))), Verdict::Retry(RetryReason::Status));
    }
}
