//! The demo's table on the terminal.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::about::About;
use super::history::History;
use super::journal::Journal;
use super::picture::Picture;
use super::screen::{self, Scene};
use super::setup::Trouble;
use crate::cli::tty::{Heard, Tty};

pub(super) struct Terminal {
    tty: Tty,
    history: History,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Other,
}

impl Terminal {
    pub(super) fn open() -> Result<Self, Trouble> {
        let tty =
            Tty::open().map_err(|error| Trouble::failure("cannot use this terminal, try --plain", error))?;
        Ok(Self { tty, history: History::default() })
    }

    /// True after a panic in this process: its message stands where the table was.
    pub(super) fn has_panicked(&self) -> bool {
        self.tty.has_panicked()
    }

    /// Draws a screen. Fails if the terminal is gone.
    pub(super) fn show(&mut self, about: &About, picture: &Picture, journal: &Journal) -> io::Result<()> {
        let rows = picture.rows();
        self.history.note(picture.elapsed, &rows);
        let scene = Scene { about, picture, rows: &rows, journal, history: &self.history };
        self.tty.draw(|frame| screen::draw(frame, &scene))
    }

    /// The next key, if one comes within this time.
    pub(super) fn key_within(&mut self, time: Duration) -> Option<Key> {
        match self.tty.key_within(time) {
            Heard::Key(key) => Some(meaning(key)),
            Heard::Nothing => None,
            Heard::Gone => Some(Key::Quit),
        }
    }
}

fn meaning(key: KeyEvent) -> Key {
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        _ => Key::Other,
    }
}
