//! The way of log lines to standard error: at once, or through a bounded queue to a thread of its own.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The most lines that may wait for their reader.
const LINES_MAX: usize = 4096;
/// Lines are written together up to so many bytes.
const BATCH_MAX: usize = 64 << 10;
/// Between two tries to put a flush into a full queue.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Each write is one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlet {
    /// Set once lines go to the thread.
    queue: Arc<OnceLock<SyncSender<Message>>>,
    lost: Arc<AtomicU64>,
}

impl Outlet {
    /// The lines that were dropped so far.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    /// From here on a thread writes to `sink`. `tell` gets the number of lines that were dropped, once writing works again.
    pub(super) fn start(
        &self,
        sink: Box<dyn Write + Send>,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<()> {
        let (queue, inbox) = sync_channel(LINES_MAX);
        let lost = self.lost();
        thread::Builder::new().name("own-log".into()).spawn(move || write_all(sink, &inbox, &lost, tell))?;
        // a second start changes nothing: its thread ends with its queue
        let _ = self.queue.set(queue);
        Ok(())
    }

    /// Returns when all lines so far are written, or after this time.
    pub(super) fn flush_within(&self, limit: Duration) {
        let Some(queue) = self.queue.get() else { return };
        let end = Instant::now() + limit;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(again)) = queue.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = again;
            thread::sleep(LOOK_EVERY);
        }
        let _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

impl Write for Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.get() {
            None => io::stderr().write_all(line)?,
            Some(queue) => {
                if queue.try_send(Message::Line(line.to_vec())).is_err() {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(line.len())
    }

    /// Nothing: this comes after each line, and would have it waited for.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until all senders are gone.
fn write_all(mut sink: impl Write, inbox: &Receiver<Message>, lost: &AtomicU64, tell: impl Fn(u64)) {
    let mut told = 0;
    let mut batch = Vec::new();
    while let Ok(first) = inbox.recv() {
        let (mut lines, mut flushes) = (0, Vec::new());
        batch.clear();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Flush(done) => flushes.push(done),
            }
            next = if batch.len() < BATCH_MAX { inbox.try_recv().ok() } else { None };
        }
        if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
            lost.fetch_add(lines, Ordering::Relaxed);
        } else if lines > 0 {
            let all = lost.load(Ordering::Relaxed);
            if all > told {
                tell(all - told);
                told = all;
            }
        }
        for done in flushes {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes nothing until it is allowed to.
    struct Blocked {
        allowed: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_who_does_not_read_and_what_is_lost_is_counted_and_told() {
        let (allow, allowed) = channel();
        let (written, texts) = channel();
        let (tell, told) = channel();
        let mut outlet = Outlet::default();
        outlet
            .start(Box::new(Blocked { allowed, written }), move |count| {
                tell.send(count).expect("the test listens")
            })
            .expect("a thread");
        let sent = 3 * LINES_MAX;
        for number in 0..sent {
            outlet.write_all(format!("{number:>999}\n").as_bytes()).expect("a write never fails");
        }
        outlet.flush_within(Duration::from_millis(10));
        let lost = outlet.lost().load(Ordering::Relaxed);
        // the thread has at most one batch
        let kept = LINES_MAX + BATCH_MAX / 1000 + 1;
        assert!(lost >= (sent - kept) as u64 && lost <= (sent - LINES_MAX) as u64, "{lost}");
        drop(allow);
        outlet.flush_within(Duration::from_secs(30));
        let text: Vec<u8> = texts.try_iter().flatten().collect();
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(told.try_iter().sum::<u64>(), lost);
        assert_eq!(lines as u64 + lost, sent as u64);
    }
}
