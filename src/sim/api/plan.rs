//! The plan of a simulated answer: its number of tokens, and how it ends, normally or with a fault.

use super::super::fault::FaultKind;

/// The end of an answer after its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The normal end: finish reason, usage, `[DONE]`.
    Finish,
    /// Without the last event, and without those of the end too unless `finished`.
    NoDone { finished: bool },
    /// A dead engine: an error event.
    Error { code: u16 },
    /// A full queue: nothing but an error event with code 503.
    Full,
    /// The same after so many milliseconds.
    QueueTimeout { delay_ms: u64 },
    /// The engine was told to stop.
    Abort,
    /// Silence for ever.
    Stall,
    /// RST.
    Die,
    /// FIN without the last chunk.
    Truncate,
    /// The same after so many events of a normal end, or in the middle of the next.
    Cut { events: u32, within: bool },
    /// The whole node crashes.
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub tokens: u32,
    pub ending: Ending,
    /// The finish reason of a normal end.
    pub reason: &'static str,
}

impl Plan {
    /// `max`: the tokens asked for; `natural_end`: the request set no limit.
    pub(crate) fn new(fault: Option<&FaultKind>, max: u32, natural_end: bool) -> Self {
        let (after, ending) = match fault {
            Some(FaultKind::Stall { after }) => (*after, Ending::Stall),
            Some(FaultKind::Die { after }) => (*after, Ending::Die),
            Some(FaultKind::Truncate { after }) => (*after, Ending::Truncate),
            Some(FaultKind::Cut { events, within }) => {
                (max, Ending::Cut { events: *events, within: *within })
            }
            Some(FaultKind::ErrorEvent { after, code }) => (*after, Ending::Error { code: *code }),
            Some(FaultKind::Abort { after }) => (*after, Ending::Abort),
            Some(FaultKind::NoDone { after }) => {
                (after.unwrap_or(max), Ending::NoDone { finished: after.is_none() })
            }
            Some(FaultKind::Crash { after }) => (after.unwrap_or(0), Ending::Crash),
            Some(FaultKind::Full) => (0, Ending::Full),
            Some(FaultKind::QueueTimeout { delay_ms }) => (0, Ending::QueueTimeout { delay_ms: *delay_ms }),
            // All other faults strike before the head.
            Some(
                FaultKind::Status { .. }
                | FaultKind::Hang
                | FaultKind::Reset
                | FaultKind::Close
                | FaultKind::Stale
                | FaultKind::Draining
                | FaultKind::SlowHead { .. },
            )
            | None => (max, Ending::Finish),
        };
        Plan { tokens: after.min(max), ending, reason: if natural_end { "stop" } else { "length" } }
    }

    /// That of a request for which the engine has no place.
    pub(crate) fn full() -> Self {
        Plan { tokens: 0, ending: Ending::Full, reason: "stop" }
    }

    /// A stalled sequence keeps its place in the engine.
    pub(crate) fn holds(&self) -> bool {
        self.ending == Ending::Stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shortens_the_answer() {
        let die = Plan::new(Some(&FaultKind::Die { after: 5 }), 16, false);
        assert_eq!(die, Plan { tokens: 5, ending: Ending::Die, reason: "length" });
        let beyond = Plan::new(Some(&FaultKind::Stall { after: 50 }), 16, true);
        assert_eq!(beyond, Plan { tokens: 16, ending: Ending::Stall, reason: "stop" });
        assert!(beyond.holds());
        let good = Plan::new(Some(&FaultKind::SlowHead { delay_ms: 5 }), 16, false);
        assert_eq!((good.tokens, good.ending), (16, Ending::Finish));
    }
}
