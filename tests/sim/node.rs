//! A node as the network sees it.

use evenkeel::fleet::CheckAnswer;
use fastrand::Rng;

use crate::fleet::{Kind, spread};

/// A node that crashes takes connections for so long, only to reset them, in seconds.
pub(crate) const DYING: f64 = 0.1;

/// The fate of what arrives there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    Well,
    /// Refuses connections, after it has reset those of the first [`DYING`]; what it had died.
    Crashed,
    /// Packets vanish: connecting takes its timeout, what it had is found dead by keepalive.
    Vanished,
    /// Accepts, and never answers.
    Hung,
    Http500,
    Http503,
    Slow(f64),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub weather: Weather,
    pub since: f64,
    pub speed: f64,
    /// Number of the present weather: an end that belongs to an older one is void.
    pub weather_number: u64,
    /// Clients whose attempt is here.
    pub running: Vec<usize>,
}

impl Node {
    pub(crate) fn new(speed: f64) -> Self {
        Self { weather: Weather::Well, since: 0.0, speed, weather_number: 0, running: Vec::new() }
    }

    /// True if a request that arrives is served.
    pub(crate) fn is_well(&self) -> bool {
        matches!(self.weather, Weather::Well | Weather::Slow(_))
    }

    /// The time after which the running requests die when this weather comes, if they do.
    pub(crate) fn kills_after(&self) -> Option<f64> {
        match self.weather {
            Weather::Crashed => Some(0.0),
            Weather::Vanished => Some(30.0),
            _ => None,
        }
    }

    /// The answer to a question, and the time it takes.
    pub(crate) fn answers(&self, by_check: bool, blind: bool, timeout: f64) -> (CheckAnswer, f64) {
        match self.weather {
            Weather::Crashed => (CheckAnswer::Refused, 0.001),
            Weather::Vanished => (CheckAnswer::Slow, timeout),
            Weather::Hung if by_check && !blind => (CheckAnswer::Slow, timeout),
            Weather::Http500 if by_check && !blind => (CheckAnswer::Failed, 0.01),
            Weather::Http503 if by_check && !blind => (CheckAnswer::Busy, 0.01),
            _ => (CheckAnswer::Passed, 0.01),
        }
    }
}

/// A kind of weather, and how long it lasts.
pub(crate) fn weather(rng: &mut Rng, kind: Kind) -> (Weather, f64) {
    match kind {
        Kind::Crash => (Weather::Crashed, spread(rng, 5.0, 300.0)),
        Kind::Vanish => (Weather::Vanished, spread(rng, 5.0, 300.0)),
        Kind::Hang => (Weather::Hung, spread(rng, 5.0, 600.0)),
        Kind::Http500 => (Weather::Http500, spread(rng, 5.0, 1200.0)),
        Kind::Http503 => (Weather::Http503, spread(rng, 5.0, 1200.0)),
        Kind::Slow => (Weather::Slow(spread(rng, 1.5, 10.0)), spread(rng, 60.0, 1800.0)),
    }
}
