//! When which node is killed, and what there is to say about it. Pure: it sees pictures and gives cues.

use std::time::Duration;

use super::picture::{Mood, Picture, Row};
use super::words::counted;

/// After a crash, the time in which its requests have found another node.
const SETTLED: Duration = Duration::from_secs(1);
/// How long all is well before the next crash.
const CALM: Duration = Duration::from_secs(8);

/// When what happens.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub first: Duration,
    /// From crash to crash.
    pub every: Duration,
    /// How long a node is away.
    pub startup: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cue {
    Crash(usize),
    Say(String),
}

#[derive(Debug)]
pub struct Story {
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
    /// Until the process runs again.
    Away,
    /// Until it has its share again.
    Running,
}

impl Story {
    pub fn new(times: Times) -> Self {
        Self { times, next: times.first, victim: 0, act: Act::Calm }
    }

    /// What to do now. Each cue is given once.
    pub fn step(&mut self, picture: &Picture) -> Vec<Cue> {
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
                    Cue::Say(format!(
                        "kills {name} (as kill -9) with {had} on it; it starts again for {startup:?}"
                    )),
                ]
            }
            Act::Killed { at, retried, failed } if picture.elapsed >= at + self.settled() => {
                self.act = Act::Away;
                let moved = counted(picture.retried() - retried, "request");
                let failed = picture.counts.failed - failed;
                vec![Cue::Say(format!("sees {moved} asked again elsewhere, {failed} failed at the clients"))]
            }
            Act::Away if victim.running => {
                self.act = Act::Running;
                vec![Cue::Say(format!("{name} runs again; the gateway has yet to find out"))]
            }
            Act::Running if is_even(&rows) => {
                self.act = Act::Calm;
                self.next = (self.next + self.times.every).max(picture.elapsed + self.calm());
                self.victim = (self.victim + 1) % rows.len();
                let shares: Vec<_> =
                    rows.iter().map(|row| format!("{} has {}", row.name, row.in_flight)).collect();
                vec![Cue::Say(format!("{name} has its share again: {}", shares.join(", ")))]
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

/// All nodes are well and have the same number of requests, as far as that can be.
fn is_even(rows: &[Row]) -> bool {
    let loads = || rows.iter().map(|row| row.in_flight);
    let gap = loads().max().unwrap_or(0) - loads().min().unwrap_or(0);
    rows.iter().all(|row| row.mood == Mood::Well) && gap <= 1
}
