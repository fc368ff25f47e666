//! The journal: writes fleet events to the log, and the access log to its file.
//!
//! Access-log lines go through a bounded channel to a separate thread, so that a slow disk never delays a
//! request. Lines beyond the bound are dropped and counted.

mod sink;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use self::sink::{Batch, Sink};
use crate::access_log::{self, Entry, Second};
use crate::config::{AccessLog, FoundNode, LogFormat, LogTarget, Origin};
use crate::fleet::{Applied, Change, Event, Pool, Reason};
use crate::live::Live;
use crate::sources::{LeftOut, Trouble};

/// Lines are collected for this long and then written together.
const PAUSE: Duration = Duration::from_millis(10);
/// The most lines that may wait for the disk.
const LINES_MAX: usize = 16 * 1024;
/// Lines are written together up to so many bytes.
const BATCH_MAX: usize = 256 << 10;
/// The most nodes of one list that are named as left out.
const LEFT_OUT_TOLD: usize = 10;

/// The longest time that the end of the process waits for the last lines.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Writes a change of a node's state to the log.
pub fn announce(event: &Event) {
    let Event { pool, node, change, in_flight, .. } = event;
    match change {
        Change::Ejected { reason: Reason::Stalled, .. } => {
            log::warn!(
                pool:%, node:%;
                "pool {pool}, node {node}: {change}; {in_flight} in flight, unanswered ones are retried elsewhere"
            );
        }
        Change::Ejected { .. } => {
            log::warn!(
                pool:%, node:%;
                "pool {pool}, node {node}: {change}; {in_flight} in flight continue, new requests go to other nodes"
            );
        }
        _ => log::info!(pool:%, node:%; "pool {pool}, node {node}: {change}"),
    }
}

/// Puts in use all nodes that a source has, see [`Pool::found`], and writes to the log what is new.
pub fn use_found(pool: &Pool, origin: &Origin, nodes: Vec<FoundNode>, now: Instant) -> Option<Applied> {
    let count = nodes.len();
    let applied = pool.found(origin, nodes, now)?;
    announce_found(pool, origin, count, &applied);
    Some(applied)
}

/// Writes to the log what a source has found, if it is news.
pub fn announce_found(pool: &Pool, origin: &Origin, nodes: usize, applied: &Applied) {
    let pool = pool.name();
    let Applied { heard, events, left_out } = applied;
    if heard.is_new || heard.is_back {
        let found = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
        log::info!(pool:%; "pool {pool}: {origin}: {found}");
    }
    events.iter().for_each(announce);
    for LeftOut { address, why, .. } in left_out.iter().take(LEFT_OUT_TOLD) {
        log::warn!(pool:%; "pool {pool}: {origin}: {address} is left out: {why}");
    }
    if left_out.len() > LEFT_OUT_TOLD {
        log::warn!(pool:%; "pool {pool}: {origin}: {} more are left out", left_out.len() - LEFT_OUT_TOLD);
    }
}

/// A source has failed, see [`Pool::not_found`]: writes that to the log, if it is news.
pub fn announce_not_found(pool: &Pool, origin: &Origin, trouble: Trouble, now: Instant) {
    let why = Arc::clone(&trouble.0);
    let Some(is_news) = pool.not_found(origin, trouble, now) else { return };
    let stays = if pool.has_heard(origin) {
        "the nodes that it named last stay"
    } else {
        "it has named no nodes yet"
    };
    let pool = pool.name();
    let level = if is_news { log::Level::Warn } else { log::Level::Debug };
    log::log!(level, pool:%; "pool {pool}: {origin}: {why}; {stays}");
}

/// The current time as log lines show it: the second, formatted once per second and thread, and the
/// milliseconds.
pub fn now() -> (Arc<Second>, u32) {
    thread_local! {
        static LAST: RefCell<Option<(i64, Arc<Second>)>> = const { RefCell::new(None) };
    }
    let now = Timestamp::now();
    let millis = now.subsec_millisecond().unsigned_abs();
    LAST.with_borrow_mut(|last| match last {
        Some((second, written)) if *second == now.as_second() => (Arc::clone(written), millis),
        _ => {
            let written = Arc::new(Second::of(&now.to_zoned(TimeZone::system())));
            *last = Some((now.as_second(), Arc::clone(&written)));
            (written, millis)
        }
    })
}

/// The handle to the writer thread.
#[derive(Clone, Debug)]
pub struct AccessLogWriter {
    lines: SyncSender<Message>,
    /// The next target of the log. Not sent through the channel, so that a full channel blocks neither a
    /// reload nor the signals after it.
    next: Arc<Mutex<Option<LogTarget>>>,
    live: Arc<Live>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Reopen,
    Flush(SyncSender<()>),
}

impl AccessLogWriter {
    /// Opens the log and starts its thread.
    pub fn start(conf: &AccessLog, live: Arc<Live>) -> io::Result<Self> {
        let sink = open(conf)?;
        let (lines, inbox) = sync_channel(LINES_MAX);
        let next = Arc::new(Mutex::new(None));
        let writer = Writer {
            sink,
            batch: Batch::default(),
            next: Arc::clone(&next),
            live: Arc::clone(&live),
            has_complained: false,
        };
        thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&inbox))?;
        Ok(Self { lines, next, live })
    }

    pub fn write(&self, format: LogFormat, entry: &Entry) {
        let Some(line) = access_log::line(format, entry) else { return };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line)) {
            self.live.lost_log_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reopens the file, as log rotation requires, or opens another if the config names another.
    pub fn reopen(&self, conf: &AccessLog) {
        let target = if conf.format == LogFormat::Off { LogTarget::Stdout } else { conf.target.clone() };
        *self.next.lock() = Some(target);
        if let Err(TrySendError::Disconnected(_)) = self.lines.try_send(Message::Reopen) {
            log::error!("access log: the writer thread has ended; no lines are written until the next start");
        }
    }

    /// Returns when all lines so far are written, or the disk has not taken them for too long.
    pub fn flush(&self) {
        let end = Instant::now() + FLUSH_WITHIN;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(again)) = self.lines.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = again;
            thread::sleep(Duration::from_millis(10));
        }
        let _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

fn open(conf: &AccessLog) -> io::Result<Sink> {
    match conf.format {
        LogFormat::Off => open_target(&LogTarget::Stdout),
        LogFormat::Main | LogFormat::Json => open_target(&conf.target),
    }
}

fn open_target(target: &LogTarget) -> io::Result<Sink> {
    Ok(match target {
        LogTarget::Stdout => Sink::new("stdout".into(), Box::new(io::stdout())),
        LogTarget::File(path) => Sink::new(path.clone(), Box::new(append_to(path)?)),
    })
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The writer thread.
struct Writer {
    sink: Sink,
    batch: Batch,
    next: Arc<Mutex<Option<LogTarget>>>,
    live: Arc<Live>,
    /// The target cannot be written to, and that was said.
    has_complained: bool,
}

impl Writer {
    /// Writes until all senders are gone, the lines of one [`PAUSE`] at a time.
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            for message in std::iter::once(first).chain(inbox.try_iter().take(LINES_MAX)) {
                match message {
                    Message::Line(line) => {
                        self.batch.push(&line);
                        if self.batch.len() >= BATCH_MAX {
                            self.put();
                        }
                    }
                    Message::Reopen => self.reopen(),
                    Message::Flush(done) => {
                        self.put();
                        let _ = done.send(());
                    }
                }
            }
            // `Message::Reopen` is lost if the channel was full
            self.reopen();
            self.put();
            // being woken for every line would cost the requests more than the line itself
            thread::sleep(PAUSE);
        }
    }

    /// Writes the lines so far; counts those that cannot be written.
    fn put(&mut self) {
        if self.batch.len() == 0 {
            return;
        }
        match self.sink.put(&mut self.batch) {
            Ok(()) => self.has_complained = false,
            Err((lost, error)) => {
                self.live.lost_log_lines.fetch_add(lost, Ordering::Relaxed);
                if !std::mem::replace(&mut self.has_complained, true) {
                    let name = self.sink.name.display();
                    log::error!(
                        "access log: cannot write to {name}: {error}; lines are dropped until writing works again"
                    );
                }
            }
        }
    }

    /// Switches to the next target, if one was set.
    fn reopen(&mut self) {
        let Some(target) = self.next.lock().take() else { return };
        self.put();
        match open_target(&target) {
            Ok(new) => self.sink = new,
            Err(e) => {
                let LogTarget::File(path) = &target else { return };
                log::error!("access log: cannot open {}: {e}; the old file stays in use", path.display());
            }
        }
    }
}
