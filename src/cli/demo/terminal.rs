//! Taking over the terminal for the demo's table, and restoring it whatever happens.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::about::About;
use super::history::History;
use super::journal::Journal;
use super::picture::Picture;
use super::screen::{self, Scene};
use super::setup::Trouble;

/// Restores the terminal when dropped; a panic in any thread restores it too.
pub(super) struct Terminal {
    inner: DefaultTerminal,
    history: History,
    panicked: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Other,
}

impl Terminal {
    pub(super) fn open() -> Result<Self, Trouble> {
        let inner = ratatui::try_init().map_err(|error| {
            restore();
            Trouble::failure("cannot use this terminal, try --plain", error)
        })?;
        let panicked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&panicked);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // from here on nothing may be drawn over the panic's message
            seen.store(true, Ordering::Release);
            hook(info);
        }));
        Ok(Self { inner, history: History::default(), panicked })
    }

    /// True after a panic in this process: its message stands where the table was.
    pub(super) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }

    /// Draws a screen. Fails if the terminal is gone.
    pub(super) fn show(&mut self, about: &About, picture: &Picture, journal: &Journal) -> io::Result<()> {
        if self.has_panicked() {
            return Err(io::Error::other("the terminal was restored by a panic"));
        }
        let rows = picture.rows();
        self.history.note(picture.elapsed, &rows);
        let scene = Scene { about, picture, rows: &rows, journal, history: &self.history };
        self.inner.draw(|frame| screen::draw(frame, &scene)).map(|_| ())
    }

    /// The next key, if one comes within this time.
    pub(super) fn key_within(&mut self, time: Duration) -> Option<Key> {
        match event::poll(time) {
            Ok(true) => match event::read() {
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => Some(meaning(key)),
                _ => None,
            },
            Ok(false) => None,
            Err(_) => {
                // no keyboard: signals still end the demo
                thread::sleep(time);
                None
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.has_panicked() {
            let _ = self.inner.show_cursor();
            restore();
        }
    }
}

/// Restores the terminal. Harmless if it was never taken over.
pub(super) fn restore() {
    if ratatui::crossterm::terminal::is_raw_mode_enabled().unwrap_or(false) {
        let _ = ratatui::try_restore();
    }
}

fn meaning(key: KeyEvent) -> Key {
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        _ => Key::Other,
    }
}
