//! The demo's script: decides when to kill which node and what to say about it. Pure: pictures in, cues out.

use std::time::Duration;

use super::classes::in_line;
use super::picture::{Mood, Picture, Row};
use super::words::counted;

/// Time after a crash within which its requests have moved to another node.
const SETTLED: Duration = Duration::from_secs(1);
/// Quiet time before the next crash.
const CALM: Duration = Duration::from_secs(8);

/// The timetable of the demo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub first: Duration,
    /// Time from crash to crash.
    pub every: Duration,
    /// Time for which a crashed node is away.
    pub startup: Duration,
}

/// An action for the demo to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cue {
    Crash(usize),
    Say(String),
}

#[derive(Debug)]
pub(super) struct Story {
    times: Times,
    next: Duration,
    victim: usize,
    act: Act,
}

#[derive(Debug)]
enum Act {
    Calm,
    Killed {
        at: Duration,
        retried: u64,
        failed: u64,
    },
    /// Waiting until the process runs again.
    Away,
    /// Waiting until the node has its full share again.
    Running,
}

impl Story {
    pub(super) fn new(times: Times) -> Self {
        Self { times, next: times.first, victim: 0, act: Act::Calm }
    }

    /// The opening line.
    pub(super) fn begin(&self) -> String {
        format!("begins; kills a node in {:?}", self.times.first)
    }

    /// The cues that are due. Each is given once.
    pub(super) fn step(&mut self, picture: &Picture) -> Vec<Cue> {
        let rows = picture.rows();
        let Some(victim) = rows.get(self.victim) else { return Vec::new() };
        let name = &victim.name;
        match self.act {
            Act::Calm if picture.elapsed >= self.next => {
                let (retried, failed) = (picture.retried(), picture.counts.failed);
                self.act = Act::Killed { at: picture.elapsed, retried, failed };
                let had = counted(victim.in_flight.into(), "request");
                let startup = self.times.startup;
                vec![
                    Cue::Crash(self.victim),
                    Cue::Say(format!("kills {name} (kill -9) with {had} on it; back in {startup:?}")),
                ]
            }
            Act::Killed { at, retried, failed } if picture.elapsed >= at + self.settled() => {
                self.act = Act::Away;
                let moved = counted(picture.retried() - retried, "request");
                let failed = picture.counts.failed - failed;
                match &picture.classes[..] {
                    [] => {
                        vec![Cue::Say(format!("sees {moved} retried elsewhere, {failed} failed at clients"))]
                    }
                    // a retry that finds no slot is counted too
                    classes => vec![
                        Cue::Say(format!("sees {moved} retried or in line for it, {failed} failed")),
                        Cue::Say(format!("sees {} in line", in_line(classes))),
                    ],
                }
            }
            Act::Away if victim.running => {
                self.act = Act::Running;
                vec![Cue::Say(format!("sees {name} run again; the gateway has yet to find out"))]
            }
            Act::Running if is_even(&rows) => {
                self.act = Act::Calm;
                self.next = (self.next + self.times.every).max(picture.elapsed + self.calm());
                self.victim = (self.victim + 1) % rows.len();
                let shares: Vec<_> =
                    rows.iter().map(|row| format!("{} has {}", row.name, row.in_flight)).collect();
                vec![Cue::Say(format!("sees {name} with its share again: {}", shares.join(", ")))]
            }
            _ => Vec::new(),
        }
    }

    fn settled(&self) -> Duration {
        SETTLED.min(self.times.startup / 2)
    }

    fn calm(&self) -> Duration {
        CALM.min(self.times.first)
    }
}

/// True if all nodes are up and share the requests as evenly as their number allows.
fn is_even(rows: &[Row]) -> bool {
    let loads = || rows.iter().map(|row| row.in_flight);
    let gap = loads().max().unwrap_or(0) - loads().min().unwrap_or(0);
    rows.iter().all(|row| row.mood == Mood::Well) && gap <= 1
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::classes::testing;
    use super::super::picture::testing::{node, pool};
    use super::*;
    use crate::fleet::NodeState;
    use crate::sim::load::Counts;

    const TIMES: Times = Times {
        first: Duration::from_secs(20),
        every: Duration::from_secs(40),
        startup: Duration::from_secs(8),
    };

    /// Two nodes: the state, the requests and the process of each.
    fn picture(seconds: u64, nodes: [(NodeState, u32, bool); 2]) -> Picture {
        let names = ["a", "b"].into_iter().zip(nodes);
        Picture {
            at: Instant::now(),
            elapsed: Duration::from_secs(seconds),
            counts: Counts::default(),
            classes: Vec::new(),
            running: nodes.iter().map(|(.., running)| *running).collect(),
            pool: Some(pool(names.map(|(name, (state, load, _))| node(name, state, load)).collect())),
        }
    }

    #[test]
    fn nodes_are_killed_in_turn_and_only_when_all_are_up() {
        use NodeState::{Ejected, Up};
        let (well, full) = ((Up, 12, true), (Up, 24, true));
        let mut story = Story::new(TIMES);
        let mut step = |seconds, nodes| story.step(&picture(seconds, nodes));
        assert_eq!(step(19, [well, well]), []);
        let cues = step(20, [well, well]);
        assert_eq!(cues[0], Cue::Crash(0));
        assert_eq!(cues[1], Cue::Say("kills a (kill -9) with 12 requests on it; back in 8s".to_owned()));
        assert_eq!(step(20, [(Up, 12, false), well]), []);
        assert_eq!(step(22, [(Ejected, 0, false), full]).len(), 1);
        assert_eq!(step(25, [(Ejected, 0, false), full]), []);
        assert_eq!(step(28, [(Ejected, 0, true), full]).len(), 1);
        assert_eq!(step(58, [(Up, 5, true), (Up, 19, true)]), []);
        let even = Cue::Say("sees a with its share again: a has 12, b has 12".to_owned());
        assert_eq!(step(59, [well, well]), [even]);
        assert_eq!(step(66, [well, well]), []);
        assert_eq!(step(67, [well, well])[0], Cue::Crash(1));
    }

    #[test]
    fn those_in_line_are_named_after_a_crash() {
        let mut story = Story::new(TIMES);
        let mut step = |seconds| {
            let nodes = [(NodeState::Up, 8, true), (NodeState::Up, 8, true)];
            story.step(&Picture { classes: testing::rows(), ..picture(seconds, nodes) })
        };
        assert_eq!(step(20)[0], Cue::Crash(0));
        let seen = [
            "sees 0 requests retried or in line for it, 0 failed",
            "sees 0 interactive and 28 batch in line",
        ];
        assert_eq!(step(22), seen.map(|what| Cue::Say(what.to_owned())));
    }
}
