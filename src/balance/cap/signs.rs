//! The cap of a node that streams, from direct signs of too many in flight.
//!
//! An engine takes in what its memory and its slots hold. What comes beyond that does no work, and streams show it in two ways:
//!
//! - *Pauses.* Memory is full: the engine throws a sequence out, and computes it anew when there is room (vLLM preempts the one
//!   that came last). Its stream has begun and is silent while the others of its node go on. A pause is counted in events of
//!   the node and not in time, so that whatever slows all of them alike, such as a long prompt, is none.
//! - *Waits.* Requests wait in the engine's own line for their first token, for many steps of the engine. They would lose nothing
//!   by waiting here, and could still go to another node. Some are needed, to fill a place as soon as it is free.
//!
//! By Little's law (1961) the streams that flow are the seconds between their events, summed up, over the time; those that pause
//! and those that wait are the rest. So the first window that shows a sign tells the cap too: as many as flow, and as may wait.
//! While neither shows there is no cap to speak of, and nothing is tried. Afterwards the cap falls by just what is too many,
//! and rises slowly, faster with each window without a sign.
//!
//! A sign may be none: a service that thinks for seconds before each first token, whatever its load, or streams that are slow
//! by nature. Then fewer flow when fewer are in flight. If so, there is no cap again, and more of that sign is tolerated.

use super::reason::Reason;
use super::round::{CAP_MAX, CAP_MIN, CAP_START, Round, Streams};

/// A window has as many answers as this part of those in flight, and never fewer than this.
const WINDOW: f64 = 0.5;
const ANSWERS_MIN: f64 = 12.0;
/// The part of the time of streams that may be pauses.
const PAUSED: f64 = 0.005;
/// The part that is one so clearly that the first window need not be whole.
const CLEARLY_PAUSED: f64 = 0.02;
/// Steps of the engine for which a first token may be waited for, and requests that may wait besides.
const STEPS: f64 = 24.0;
const WAITING: f64 = 4.0;
/// The first sign must be so many times as much, because it puts a cap where there was none.
const FIRST: f64 = 2.0;
/// Windows in a row in which they wait before that is a sign: those of a job that begins at once wait for their prompts.
const WAITED_MIN: u32 = 3;
/// The least to which waits alone bring the cap before it is known whether that was for nothing.
const FALL: f64 = 0.6;
/// The part of the load at which that shows.
const FALLEN: f64 = 0.67;
/// The part of the load's fall, as logarithms, from which on the flow has fallen as the load has.
const AS_THE_LOAD: f64 = 0.8;
/// The rise of the cap in a window, and its growth in each that is clean.
const RISE: f64 = 0.01;
const RISE_GROWS: f64 = 1.25;
const RISE_MAX: f64 = 0.5;
/// The part of what may be at which a window is clean.
const CLEAN: f64 = 0.25;
/// The part of the cap from which on it binds.
const BINDS: f64 = 0.93;
/// While there was no sign, so many times the most that were in flight may be.
const FREE: f64 = 2.0;
/// The most by which the tolerance grows at once, and in all.
const DOUBT_MAX: f64 = 8.0;
const TOLERANCE_MAX: f64 = 1e4;
/// The part of it that is left after a window: the workload may change, and one fall for nothing costs a turnover or two.
const TOLERANCE_LEFT: f64 = 0.998;
/// The part of the load at which nothing has fallen yet.
const STILL: f64 = 0.75;
/// So many falls in a row are each by what is too many.
const FALLS: i32 = 2;
/// The next ones by this power of two times as much.
const DOUBLED_MAX: i32 = 8;

/// The cap from signs.
#[derive(Clone, Debug)]
pub(super) struct Held {
    now: f64,
    state: State,
    seen: Window,
    /// As many times the usual sign are none.
    tolerance: f64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// There was no sign yet, but so many windows in a row in which requests waited.
    Free {
        waited: u32,
        most: u32,
    },
    Capped {
        sign: Sign,
        rise: f64,
        before: Option<Before>,
    },
}

/// The load before the cap fell.
#[derive(Clone, Copy, Debug)]
struct Before {
    load: f64,
    /// The newest flow at about this load, and the load that it had: the first one seen may be that of the workload before.
    flow: f64,
    at: f64,
    /// It has fallen so many times since.
    falls: i32,
}

impl Before {
    fn new(seen: &Means) -> Self {
        Self { load: seen.load, flow: seen.flow, at: seen.load, falls: 0 }
    }

    fn still(self, seen: &Means) -> Self {
        if seen.load > STILL * self.load { Self { flow: seen.flow, at: seen.load, ..self } } else { self }
    }

    /// The flow has fallen as the load has; `None` as long as the load has not fallen by enough to tell. As a job begins memory is
    /// not full yet, so that more flow than later: the flow falls then too, but less.
    fn was_for_nothing(&self, seen: &Means) -> Option<bool> {
        let [flow, load] = [seen.flow / self.flow, seen.load / self.at];
        (load < FALLEN).then(|| flow.ln() < AS_THE_LOAD * load.ln())
    }
}

#[derive(Clone, Copy, Debug)]
enum Sign {
    Pauses(f64),
    Waits,
}

/// Sums since the last judgement.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    sum: Streams,
    ended: f64,
    /// Requests in flight, and those of them that have begun, times seconds.
    area: f64,
    open: f64,
    time: f64,
}

impl Window {
    fn add(&mut self, round: &Round) {
        let (sum, new, passed) = (&mut self.sum, &round.streams, round.passed.as_secs_f64());
        sum.begun += new.begun;
        sum.events += new.events;
        sum.flow += new.flow;
        sum.pauses += new.pauses;
        sum.paused += new.paused;
        sum.whole_time += new.whole_time;
        self.ended += round.ended;
        self.area += f64::from(round.in_flight) * passed;
        self.open += new.open * passed;
        self.time += passed;
    }

    fn load(&self) -> f64 {
        self.area / self.time
    }

    fn is_clearly_paused(&self, tolerance: f64) -> bool {
        self.sum.paused > CLEARLY_PAUSED * tolerance * self.sum.flow
    }

    /// Mean numbers of requests.
    fn means(&self) -> Option<Means> {
        let flow = self.sum.flow / self.time;
        let length = (self.sum.events / self.sum.begun).max(1.0);
        let seen = Means {
            load: self.load(),
            flow,
            pausing: (self.open / self.time - flow).max(0.0),
            has_paused: self.sum.paused / self.time,
            waiting: ((self.area - self.open - self.sum.whole_time) / self.time).max(0.0),
            // a request waits for as many steps as there are in a stream if as many wait as flow
            may_wait: STEPS * flow / length,
        };
        (flow > 0.0 && seen.may_wait.is_finite() && seen.load.is_finite()).then_some(seen)
    }
}

#[derive(Clone, Copy, Debug)]
struct Means {
    load: f64,
    flow: f64,
    /// Those that pause now, though they may not have gone on yet.
    pausing: f64,
    /// Those whose pauses have ended.
    has_paused: f64,
    waiting: f64,
    may_wait: f64,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            now: f64::from(CAP_START),
            state: State::Free { waited: 0, most: 0 },
            seen: Window::default(),
            tolerance: 1.0,
        }
    }
}

impl Held {
    pub(super) fn now(&self) -> u32 {
        (self.now.round() as u32).clamp(CAP_MIN, CAP_MAX)
    }

    pub(super) fn reason(&self) -> Reason {
        match self.state {
            State::Free { .. } => Reason::Free,
            State::Capped { sign: Sign::Pauses(count), .. } => Reason::Paused { count: count as u32 },
            State::Capped { sign: Sign::Waits, .. } => Reason::Waited,
        }
    }

    pub(super) fn interrupt(&mut self) {
        self.seen = Window::default();
        self.tolerance = 1.0;
        if let State::Capped { before, .. } = &mut self.state {
            *before = None;
        }
    }

    pub(super) fn round(&mut self, round: &Round) {
        self.seen.add(round);
        let load = f64::from(round.in_flight);
        let is_first = match &mut self.state {
            State::Capped { .. } => false,
            State::Free { most, .. } => {
                *most = round.in_flight.max(*most);
                self.now = (FREE * f64::from(*most)).max(f64::from(CAP_START));
                self.seen.is_clearly_paused(self.tolerance)
            }
        };
        let least = if is_first { 0.0 } else { WINDOW * self.seen.load() };
        if self.seen.time > 0.0 && self.seen.ended >= least.max(ANSWERS_MIN) {
            let seen = std::mem::take(&mut self.seen);
            if let Some(means) = seen.means() {
                self.judge(&means, seen.sum.pauses, load);
            }
        }
    }

    fn judge(&mut self, seen: &Means, pauses: f64, load: f64) {
        self.tolerance = (self.tolerance * TOLERANCE_LEFT).max(1.0);
        let may_wait = self.tolerance * seen.may_wait + WAITING;
        let waits = seen.waiting / may_wait;
        let pauses_by = |part: f64| part / (self.tolerance * PAUSED * (seen.flow + part));
        let sign = if pauses_by(seen.has_paused) > waits { Sign::Pauses(pauses) } else { Sign::Waits };
        let too_many = (seen.waiting - may_wait).max(0.0);
        match self.state {
            State::Free { waited, most } => {
                let is_paused = pauses_by(seen.has_paused) > FIRST;
                let waited = if waits > FIRST { waited + 1 } else { 0 };
                if is_paused || waited >= WAITED_MIN {
                    let least = if is_paused { 0.0 } else { FALL * seen.load };
                    let before = Before::new(seen);
                    self.go((seen.load - too_many - seen.pausing).max(least));
                    self.state = State::Capped { sign, rise: RISE, before: Some(before) };
                } else {
                    self.state = State::Free { waited, most };
                }
            }
            // those that came before the cap fell are still there
            State::Capped { sign, rise, before } if load > self.now * 1.05 + 1.0 => {
                let before = before.map(|before| before.still(seen));
                self.state = State::Capped { sign, rise, before };
                let waits_alone = before.filter(|_| matches!(sign, Sign::Waits));
                let least = waits_alone.map_or(0.0, |before| FALL * before.load);
                self.go((seen.load - too_many - seen.pausing).max(least).min(load));
            }
            State::Capped { sign: last, rise, before } => {
                let over = waits.max(pauses_by(seen.has_paused));
                if over > 1.0 {
                    self.fall(seen, too_many, sign, before, over);
                } else {
                    if seen.load > BINDS * self.now {
                        self.go(self.now * (1.0 + rise * (1.0 - over)));
                    }
                    let rise = if over < CLEAN { (rise * RISE_GROWS).min(RISE_MAX) } else { RISE };
                    self.state = State::Capped { sign: last, rise, before: None };
                }
            }
        }
    }

    fn fall(&mut self, seen: &Means, too_many: f64, sign: Sign, before: Option<Before>, over: f64) {
        let before = match before.map(|before| before.still(seen)) {
            Some(before) => match before.was_for_nothing(seen) {
                Some(true) => {
                    self.tolerance = ((1.5 * over).min(DOUBT_MAX) * self.tolerance).min(TOLERANCE_MAX);
                    self.go(FREE * before.load);
                    self.state = State::Free { waited: 0, most: before.load.ceil() as u32 };
                    return;
                }
                Some(false) => Before::new(seen),
                None => before,
            },
            None => Before::new(seen),
        };
        // if those do not help, each is twice as deep as the one before: it would be long before they are known to be for nothing
        let more = 2.0_f64.powi((before.falls - FALLS).clamp(0, DOUBLED_MAX));
        self.go((seen.load - too_many - more * seen.has_paused).max(FALL * seen.load));
        let before = Before { falls: before.falls.saturating_add(1), ..before };
        self.state = State::Capped { sign, rise: RISE, before: Some(before) };
    }

    fn go(&mut self, cap: f64) {
        self.now = cap.clamp(f64::from(CAP_MIN), f64::from(CAP_MAX));
    }
}
