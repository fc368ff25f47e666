//! What is written down: the events of the fleet, and the access log.
//!
//! Access-log lines go through a bounded channel to a thread of their own, so that a slow disk never holds up a
//! request; lines beyond the bound are counted and dropped.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::access_log::{self, Entry, Second};
use crate::config::{AccessLog, LogFormat, LogTarget};
use crate::fleet::{Change, Event, Reason};
use crate::live::Live;

/// How long lines are gathered before they are written together.
const PAUSE: Duration = Duration::from_millis(10);
/// Lines that may wait for the disk.
const LINES_MAX: usize = 16 * 1024;

/// How long the end of the process waits for the last lines.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Says in the log what happened to a node.
pub fn announce(event: &Event) {
    let Event { pool, node, change, in_flight, .. } = event;
    match change {
        Change::Ejected { reason: Reason::Stalled, .. } => {
            log::warn!(
                "pool {pool}, node {node}: {change}; of {in_flight} in flight those without an answer so far go to other nodes"
            );
        }
        Change::Ejected { .. } => {
            log::warn!(
                "pool {pool}, node {node}: {change}; {in_flight} in flight go on, new requests go to other nodes"
            );
        }
        _ => log::info!("pool {pool}, node {node}: {change}"),
    }
}

/// Now, as lines say it.
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

/// The handle to the writer's thread.
#[derive(Clone, Debug)]
pub struct AccessLogWriter {
    lines: SyncSender<Message>,
    /// Where the log is to go from now on; beside the channel, so that a full one holds up neither a reload nor the
    /// signals that come after it.
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
        let sink = Sink::open(conf)?;
        let (lines, inbox) = sync_channel(LINES_MAX);
        let next = Arc::new(Mutex::new(None));
        let turn = Arc::clone(&next);
        thread::Builder::new().name("access-log".into()).spawn(move || write_all(sink, &inbox, &turn))?;
        Ok(Self { lines, next, live })
    }

    pub fn write(&self, format: LogFormat, entry: &Entry) {
        let Some(line) = access_log::line(format, entry) else { return };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line)) {
            self.live.lost_log_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew, which is what log rotation asks for, or another one if the config names another.
    pub fn reopen(&self, conf: &AccessLog) {
        let target = if conf.format == LogFormat::Off { LogTarget::Stdout } else { conf.target.clone() };
        *self.next.lock() = Some(target);
        if let Err(TrySendError::Disconnected(_)) = self.lines.try_send(Message::Reopen) {
            log::error!("access log: its thread has ended, no more lines are written until the next start");
        }
    }

    /// Returns when everything so far is written, or the disk has not taken it for too long.
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

struct Sink {
    name: PathBuf,
    out: BufWriter<Box<dyn Write + Send>>,
}

impl Sink {
    fn open(conf: &AccessLog) -> io::Result<Self> {
        match conf.format {
            LogFormat::Off => Self::open_target(&LogTarget::Stdout),
            LogFormat::Main | LogFormat::Json => Self::open_target(&conf.target),
        }
    }

    fn open_target(target: &LogTarget) -> io::Result<Self> {
        let (name, out): (_, Box<dyn Write + Send>) = match target {
            LogTarget::Stdout => ("stdout".into(), Box::new(io::stdout())),
            LogTarget::File(path) => (path.clone(), Box::new(append_to(path)?)),
        };
        Ok(Self { name, out: BufWriter::new(out) })
    }
}

impl Sink {
    /// Goes over to the next target, if one was set.
    fn reopen(&mut self, next: &Mutex<Option<LogTarget>>) -> io::Result<()> {
        let Some(target) = next.lock().take() else { return Ok(()) };
        let flushed = self.out.flush();
        match Self::open_target(&target) {
            Ok(new) => *self = new,
            Err(e) => {
                let LogTarget::File(path) = &target else { return flushed };
                log::error!("access log: cannot open {}: {e}; the old file stays in use", path.display());
            }
        }
        flushed
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes until all senders are gone, all lines of a [`PAUSE`] at a time.
fn write_all(mut sink: Sink, inbox: &Receiver<Message>, next: &Mutex<Option<LogTarget>>) {
    let mut complained = false;
    while let Ok(first) = inbox.recv() {
        let mut result = Ok(());
        for message in std::iter::once(first).chain(inbox.try_iter().take(LINES_MAX)) {
            match message {
                Message::Line(line) => result = result.and(writeln!(sink.out, "{line}")),
                Message::Reopen => result = result.and(sink.reopen(next)),
                Message::Flush(done) => {
                    result = result.and(sink.out.flush());
                    let _ = done.send(());
                }
            }
        }
        // the channel may have been full when it was to be opened anew
        result = result.and(sink.reopen(next));
        match result.and(sink.out.flush()) {
            Ok(()) => complained = false,
            Err(_) if complained => {}
            Err(e) => {
                complained = true;
                let name = sink.name.display();
                log::error!("access log: cannot write to {name}: {e}; lines are lost until it works again");
            }
        }
        // to be woken for each line would cost the requests more than the line
        thread::sleep(PAUSE);
    }
}
