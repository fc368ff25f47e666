//! The two loops: on a terminal, and as lines.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Key, Verdict};
use super::fetch::{Wanted, fetch, follow};
use super::model::Model;
use super::tables::{AGE, NODES, REQUESTS, order_of};
use super::{plain, screen};
use crate::cli::admin::{Admin, Trouble};
use crate::cli::tty::{Heard, Tty, restore};
use crate::server::signals;

/// Longest wait for a key: so late a stop, an answer and a new size are seen.
const TICK: Duration = Duration::from_millis(100);
/// Open requests that are fetched for the screen, and for a block of lines.
const ROWS_ON_SCREEN: usize = 1000;
const ROWS_IN_BLOCK: usize = 20;
/// The exit code of a program ended by SIGINT, as shells have it.
const EXIT_INTERRUPTED: i32 = 130;

/// True once a signal has come. A second one ends the process at once.
pub(super) fn stop_on(registered: signals::Registered) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    registered.on_stop(move || {
        if asked.swap(true, Ordering::AcqRel) {
            restore();
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    stop
}

/// Shows the screen until a key, a signal or the end of the time.
pub(super) fn screen(
    admin: Admin,
    every: Duration,
    limit: Option<Duration>,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let mut tty = Tty::open()
        .map_err(|error| Trouble::Failed(format!("cannot use this terminal, try --plain: {error}")))?;
    let began = Instant::now();
    let mut model = Model::new(admin.name(), began);
    let mut app = App::new(NODES.len(), REQUESTS.len());
    let wanted = Arc::new(Mutex::new(wanted(&app)));
    let tries = follow(admin, every, Arc::clone(&wanted));
    while !stop.load(Ordering::Acquire) && limit.is_none_or(|limit| began.elapsed() < limit) {
        for tried in tries.try_iter() {
            if !app.is_paused {
                model.take(tried, Instant::now());
            }
        }
        // fails once the terminal is gone, or restored by a panic
        if tty.draw(|frame| screen::draw(frame, &model, &mut app, Instant::now())).is_err() {
            break;
        }
        match tty.key_within(TICK) {
            Heard::Gone => break,
            Heard::Nothing => {}
            Heard::Key(key) => {
                if meaning(key).is_some_and(|key| app.press(key) == Verdict::Quit) {
                    break;
                }
                *wanted.lock() = self::wanted(&app);
            }
        }
    }
    if tty.has_panicked() { Err(Trouble::Failed("ended by a panic".to_owned())) } else { Ok(()) }
}

/// Prints a block each time, until a signal, the end of the time or of the count. Fails if the last try did.
pub(super) fn plain(
    admin: &Admin,
    every: Duration,
    limit: Option<Duration>,
    count: Option<u64>,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let began = Instant::now();
    let mut model = Model::new(admin.name(), began);
    let order = order_of(AGE);
    let mut next = began;
    for done in 1.. {
        model.take(fetch(admin, Wanted { order, is_ascending: false, limit: ROWS_IN_BLOCK }), Instant::now());
        let block = plain::block(&model, Instant::now());
        let mut out = io::stdout().lock();
        // a reader that has left ends it, as it does other commands
        if out.write_all(block.as_bytes()).and_then(|()| out.flush()).is_err() || count == Some(done) {
            break;
        }
        drop(out);
        next += every;
        while Instant::now() < next && !is_over(stop, began, limit) {
            thread::sleep(TICK.min(next.saturating_duration_since(Instant::now())));
        }
        if is_over(stop, began, limit) {
            break;
        }
    }
    match model.is_in_trouble().then(|| model.trouble(Instant::now())).flatten() {
        Some(why) => Err(Trouble::Failed(why.replace(", trying again", ""))),
        None => Ok(()),
    }
}

fn is_over(stop: &AtomicBool, began: Instant, limit: Option<Duration>) -> bool {
    stop.load(Ordering::Acquire) || limit.is_some_and(|limit| began.elapsed() >= limit)
}

/// The requests that come first in the chosen order.
fn wanted(app: &App) -> Wanted {
    let order = app.requests.order(REQUESTS);
    let (order, falls) = order.map_or((order_of(AGE), true), |(place, falls)| (order_of(place), falls));
    Wanted { order, is_ascending: !falls, limit: ROWS_ON_SCREEN }
}

fn meaning(key: KeyEvent) -> Option<Key> {
    Some(match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Tab | KeyCode::BackTab => Key::Tab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
