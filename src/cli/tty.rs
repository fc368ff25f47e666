//! The terminal of the commands that fill a screen: taking it over, its keys, and restoring it whatever happens.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use filedescriptor::{AsRawFileDescriptor, POLLERR, POLLHUP, pollfd};
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};

/// Keys that may wait.
const KEYS_MAX: usize = 256;

/// Restores the terminal when dropped; a panic in any thread restores it too.
pub(super) struct Tty {
    inner: DefaultTerminal,
    panicked: Arc<AtomicBool>,
    keys: Receiver<Event>,
}

/// The end of a wait for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Key(KeyEvent),
    /// Nothing within the time, or something else than a key: the size has changed.
    Nothing,
    /// The terminal is gone, and nobody will press a key.
    Gone,
}

impl Tty {
    pub(super) fn open() -> io::Result<Self> {
        let inner = ratatui::try_init().inspect_err(|_| restore())?;
        let panicked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&panicked);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // from here on nothing may be drawn over the panic's message
            seen.store(true, Ordering::Release);
            hook(info);
        }));
        Ok(Self { inner, panicked, keys: listen() })
    }

    /// True after a panic in this process: its message stands where the screen was.
    pub(super) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }

    /// Draws a screen. Fails if the terminal is gone.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if self.has_panicked() {
            return Err(io::Error::other("the terminal was restored by a panic"));
        }
        self.inner.draw(paint).map(|_| ())
    }

    /// The next key, if one comes within this time.
    pub(super) fn key_within(&self, time: Duration) -> Heard {
        if is_gone() {
            return Heard::Gone;
        }
        match self.keys.recv_timeout(time) {
            Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => Heard::Key(key),
            Ok(_) => Heard::Nothing,
            Err(RecvTimeoutError::Timeout) if is_gone() => Heard::Gone,
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => {
                // no keyboard: signals still end the command
                thread::sleep(time);
                Heard::Nothing
            }
        }
    }
}

impl Drop for Tty {
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

/// Keys are read in a thread of its own: crossterm's `poll` and `read` never return once the terminal is gone, and spin.
fn listen() -> Receiver<Event> {
    let (sender, keys) = sync_channel(KEYS_MAX);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    keys
}

/// True once the terminal has hung up. Nothing is waited for.
fn is_gone() -> bool {
    let out = io::stdout();
    let mut asked = [pollfd { fd: out.as_raw_file_descriptor(), events: 0, revents: 0 }];
    match filedescriptor::poll(&mut asked, Some(Duration::ZERO)) {
        Ok(_) => asked[0].revents & (POLLHUP | POLLERR) != 0,
        // a signal came between
        Err(_) => !out.is_terminal(),
    }
}
