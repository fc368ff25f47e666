//! The columns of the dialects' table: what befalls a node, and the rule for how that has to end.

use std::fmt;

use evenkeel::outcome::Outcome;

use super::answer::Saw;
use super::api::{AFTER, Api, TOKENS};

/// The ways in which a node fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Good,
    NoDone,
    ErrorFirst,
    ErrorLater,
    CutFirst,
    CutBetween,
    CutWithin,
    BusyFirst,
    BusyLater,
    Mistake,
}

pub(super) const COLUMNS: [Column; 10] = [
    Column::Good,
    Column::NoDone,
    Column::ErrorFirst,
    Column::ErrorLater,
    Column::CutFirst,
    Column::CutBetween,
    Column::CutWithin,
    Column::BusyFirst,
    Column::BusyLater,
    Column::Mistake,
];

/// One request.
#[derive(Debug)]
pub(super) struct Case {
    /// The fault of the node that is asked first.
    pub fault: Option<String>,
    /// The request itself is broken.
    pub is_mistake: bool,
    /// Words that the client gets if the fault is not hidden from it.
    pub words: usize,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub saw: Saw,
    pub attempts: u64,
    /// The failures that nodes were charged with.
    pub charges: Vec<Outcome>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.saw, self.attempts)?;
        self.charges.iter().try_for_each(|outcome| write!(f, ", {outcome}"))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "no fault",
            Self::NoDone => "no last event",
            Self::ErrorFirst => "error first",
            Self::ErrorLater => "error later",
            Self::CutFirst => "cut before a word",
            Self::CutBetween => "cut between events",
            Self::CutWithin => "cut within an event",
            Self::BusyFirst => "busy first",
            Self::BusyLater => "busy later",
            Self::Mistake => "client's mistake",
        })
    }
}

impl Column {
    /// The rule; `None` where the dialect has no such thing.
    pub(super) fn rule(self, api: &Api) -> Option<End> {
        let cut = |charge: Option<Outcome>| (Saw::Cut, 1, charge);
        let hidden = |charge: Option<Outcome>| (Saw::Whole, 2, charge);
        let error = match (api.streams(), api.tells_errors) {
            (true, true) => Outcome::EngineError,
            (true, false) => Outcome::Truncated,
            (false, _) => Outcome::Http5xx,
        };
        let (saw, attempts, charge) = match self {
            Self::NoDone | Self::ErrorLater | Self::CutFirst | Self::CutBetween | Self::BusyLater
                if !api.streams() =>
            {
                return None;
            }
            Self::BusyLater if !api.tells_errors => return None,
            Self::Good => (Saw::Whole, 1, None),
            // a good end is never cut, a cut is never taken for an end
            Self::NoDone if api.says_before => (Saw::Unended, 1, None),
            Self::NoDone | Self::CutBetween => cut(Some(Outcome::Truncated)),
            // nobody has heard anything: another node begins anew
            Self::ErrorFirst => hidden(Some(error)),
            Self::CutFirst => hidden(Some(Outcome::Truncated)),
            Self::ErrorLater => cut(Some(error)),
            // what does not stream is not passed on in parts
            Self::CutWithin if !api.streams() => hidden(Some(Outcome::Truncated)),
            Self::CutWithin => cut(Some(Outcome::Truncated)),
            // load is no failure
            Self::BusyFirst => hidden(None),
            Self::BusyLater => cut(None),
            Self::Mistake => (Saw::Error, 1, None),
        };
        Some(End { saw, attempts, charges: charge.into_iter().collect() })
    }

    /// The requests of a cell. `whole`: what a good node says.
    pub(super) fn cases(self, api: &Api, whole: &str) -> Vec<Case> {
        let events = api.events(whole);
        let fault = |fault: &str, words| Case { fault: Some(fault.to_owned()), is_mistake: false, words };
        let words = |before: usize| api.said(&events[..before]).split_whitespace().count();
        let cut =
            |before: usize, within: bool| fault(&format!("cut:{before},within={within}"), words(before));
        let first = api.silent + 1;
        match self {
            Self::Good => vec![Case { fault: None, is_mistake: false, words: TOKENS }],
            Self::NoDone => vec![fault("no_done", words(events.len() - 1))],
            Self::ErrorFirst => vec![fault("error_event:0", 0)],
            Self::ErrorLater => vec![fault(&format!("error_event:{AFTER}"), AFTER)],
            Self::CutFirst => (0..first).flat_map(|before| [cut(before, false), cut(before, true)]).collect(),
            Self::CutBetween => {
                let early = fault(&format!("no_done:{AFTER}"), AFTER);
                (first..events.len()).map(|before| cut(before, false)).chain([early]).collect()
            }
            Self::CutWithin if !api.streams() => vec![fault("truncate", 0)],
            Self::CutWithin => (first..events.len()).map(|before| cut(before, true)).collect(),
            // an event, or a status where the engine has no such event
            Self::BusyFirst if api.tells_errors => vec![fault("error_event:0,code=503", 0)],
            Self::BusyFirst => vec![fault("full", 0)],
            Self::BusyLater => vec![fault(&format!("error_event:{AFTER},code=503"), AFTER)],
            Self::Mistake => {
                let broken = Case { fault: None, is_mistake: true, words: 0 };
                let told = [
                    fault("error_event:0,code=400", 0),
                    fault(&format!("error_event:{AFTER},code=400"), AFTER),
                ];
                let told = if api.tells_errors && api.streams() { Vec::from(told) } else { Vec::new() };
                told.into_iter().chain([broken]).collect()
            }
        }
    }
}
