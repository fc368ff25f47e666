//! Recording the demo for README.md: draws the table on an invisible screen of fixed size and saves an animation.

use std::io;
use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::about::About;
use super::cast::Cast;
use super::history::History;
use super::journal::Journal;
use super::picture::Picture;
use super::screen::{self, Scene};
use super::svg::{self, Playback};

const WIDTH: u16 = 80;
/// Room for the table, both curves, and all lines about one crash.
const HEIGHT: u16 = 33;
const EVERY: Duration = Duration::from_millis(500);
/// Plays four times as fast as recorded; the last frame stays long enough to be read.
const PLAYBACK: Playback = Playback {
    frame: Duration::from_millis(125),
    hold: Duration::from_secs(5),
    title: "make demo (4x speed)",
};
const WITH_CLASSES: Playback = Playback { title: "evenkeel demo --classes (4x speed)", ..PLAYBACK };
/// Longest recording: more than anyone would watch.
const FRAMES_MAX: usize = 600;

pub(super) struct Recorder {
    screen: Terminal<TestBackend>,
    history: History,
    next: Duration,
    /// End of the load; afterwards only the last answers are awaited.
    until: Duration,
    frames: Vec<Buffer>,
    playback: &'static Playback,
}

impl Recorder {
    pub(super) fn new(until: Duration, cast: Cast) -> io::Result<Self> {
        let screen = Terminal::new(TestBackend::new(WIDTH, HEIGHT)).map_err(io::Error::other)?;
        let playback = if cast.line().is_some() { &WITH_CLASSES } else { &PLAYBACK };
        let history = History::default();
        Ok(Self { screen, history, next: Duration::ZERO, until, frames: Vec::new(), playback })
    }

    /// Keeps a frame if one is due.
    pub(super) fn show(&mut self, about: &About, picture: &Picture, journal: &Journal) -> io::Result<()> {
        let rows = picture.rows();
        self.history.note(picture.elapsed, &rows);
        let due = picture.elapsed >= self.next && picture.elapsed < self.until;
        if !due || self.frames.len() == FRAMES_MAX {
            return Ok(());
        }
        self.next = picture.elapsed + EVERY;
        let scene = Scene { about, picture, rows: &rows, journal, history: &self.history };
        let drawn = self.screen.draw(|frame| screen::draw(frame, &scene)).map_err(io::Error::other)?;
        self.frames.push(drawn.buffer.clone());
        Ok(())
    }

    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, svg::animation(&self.frames, self.playback))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::picture::testing::{node, pool};
    use super::*;
    use crate::fleet::NodeState;
    use crate::sim::load::Counts;

    #[test]
    fn a_frame_is_kept_each_half_second_until_the_end() {
        let mut recorder = Recorder::new(Duration::from_secs(3), Cast::Alike(24)).expect("a screen");
        let about = About {
            cast: Cast::Alike(24),
            address: "127.0.0.1:9999".parse().expect("an address"),
            admin: None,
        };
        for tick in 0..60_u64 {
            let picture = Picture {
                at: Instant::now(),
                elapsed: Duration::from_millis(tick * 100),
                counts: Counts { sent: tick, in_flight: 24, done: 0, failed: 0, cut: 0 },
                classes: Vec::new(),
                running: vec![true],
                pool: Some(pool(vec![node("a", NodeState::Up, 24)])),
            };
            recorder.show(&about, &picture, &Journal::new(Duration::ZERO)).expect("it is drawn");
        }
        assert_eq!(recorder.frames.len(), 6);
        let svg = svg::animation(&recorder.frames, &PLAYBACK);
        assert!(svg.contains(">0:02<") && !svg.contains(">0:03<"), "{svg}");
    }
}
