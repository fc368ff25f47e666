//! The demo's main loop: takes a snapshot, decides, shows, waits.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::journal::Journal;
use super::plain::Plain;
use super::record::Recorder;
use super::stage::Stage;
use super::story::{Cue, Story};
use super::terminal::{Key, Terminal};

const TICK: Duration = Duration::from_millis(100);

/// The output of the demo.
pub(super) enum Face {
    Table(Terminal),
    Plain(Plain),
    /// Not shown: the table is written to a file at the end.
    Recorder(Recorder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The time is over and the last requests are done.
    InTime,
    /// A key, a signal, or a closed output.
    Asked,
}

/// Shows the demo until `limit`, a key or `stop`.
pub(super) fn show(
    stage: &mut Stage,
    story: &mut Story,
    face: &mut Face,
    limit: Option<Duration>,
    stop: &AtomicBool,
) -> Ended {
    let mut journal = Journal::new(stage.slow_start);
    journal.say(story.begin());
    stage.about.cast.rules().into_iter().for_each(|rules| journal.say(rules));
    let mut ending = false;
    if face.greet(stage).is_err() {
        return Ended::Asked;
    }
    loop {
        let picture = stage.look();
        if let Some(pool) = &picture.pool {
            journal.follow(pool, picture.at);
        }
        if !ending && limit.is_some_and(|limit| picture.elapsed >= limit) {
            ending = true;
            stage.ask_no_more();
            journal.say("ends: no new requests, those in flight are finished".to_owned());
        }
        let cues = if ending { Vec::new() } else { story.step(&picture) };
        for cue in cues {
            match cue {
                Cue::Crash(place) => stage.crash(place),
                Cue::Say(what) => journal.say(what),
            }
        }
        let shown = match face {
            Face::Table(terminal) => terminal.show(&stage.about, &picture, &journal),
            Face::Plain(plain) => plain.show(&picture, &journal),
            Face::Recorder(recorder) => recorder.show(&stage.about, &picture, &journal),
        };
        if ending && picture.counts.in_flight == 0 {
            return Ended::InTime;
        }
        if shown.is_err() || !stage.is_alive() || face.wait() || stop.load(Ordering::Acquire) {
            return Ended::Asked;
        }
    }
}

impl Face {
    fn greet(&mut self, stage: &Stage) -> io::Result<()> {
        match self {
            Self::Table(_) | Self::Recorder(_) => Ok(()),
            Self::Plain(plain) => plain.greet(&stage.about),
        }
    }

    /// Waits until the next snapshot; true if the user wants to quit.
    fn wait(&mut self) -> bool {
        match self {
            Self::Table(terminal) => terminal.key_within(TICK) == Some(Key::Quit),
            Self::Plain(_) | Self::Recorder(_) => {
                thread::sleep(TICK);
                false
            }
        }
    }
}
