//! The target of access-log lines: writes them together, and knows which of them were not written.

use std::io::{self, Write};
use std::path::PathBuf;

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// The place after each line.
    ends: Vec<usize>,
}

impl Batch {
    pub(super) fn push(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

pub(super) struct Sink {
    pub name: PathBuf,
    out: Box<dyn Write + Send>,
    /// The last line was written in part: the next one begins on a new line.
    is_cut: bool,
}

impl Sink {
    pub(super) fn new(name: PathBuf, out: Box<dyn Write + Send>) -> Self {
        Self { name, out, is_cut: false }
    }

    /// Writes and empties the batch. With an error comes the number of lines that were not written whole.
    pub(super) fn put(&mut self, batch: &mut Batch) -> Result<(), (u64, io::Error)> {
        let Batch { bytes, ends } = std::mem::take(batch);
        let (done, result) = match self.end_cut_line() {
            Ok(()) => self.write(&bytes),
            Err(error) => (0, Err(error)),
        };
        if done > 0 {
            self.is_cut = done < bytes.len() && !ends.contains(&done);
        }
        let lost = ends.iter().filter(|end| **end > done).count() as u64;
        (batch.bytes, batch.ends) = (bytes, ends);
        batch.bytes.clear();
        batch.ends.clear();
        result.map_err(|error| (lost, error))
    }

    fn end_cut_line(&mut self) -> io::Result<()> {
        if self.is_cut {
            self.out.write_all(b"\n")?;
            self.is_cut = false;
        }
        Ok(())
    }

    /// The number of bytes that were written, and why no more.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut done = 0;
        while done < bytes.len() {
            match self.out.write(&bytes[done..]) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, self.out.flush())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A disk with so much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Disk {
        fn grow(&self, room: usize) {
            self.0.lock().expect("no panic").0 += room;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").1.clone()).expect("UTF-8")
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().expect("no panic");
            let count = bytes.len().min(disk.0);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0 -= count;
            disk.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn put(sink: &mut Sink, lines: &[&str]) -> u64 {
        let mut batch = Batch::default();
        lines.iter().for_each(|line| batch.push(line));
        let lost = sink.put(&mut batch).map_or_else(|(lost, _)| lost, |()| 0);
        assert_eq!(batch.len(), 0);
        lost
    }

    #[test]
    fn every_line_is_whole_in_the_file_or_counted() {
        let disk = Disk::default();
        let mut sink = Sink::new("log".into(), Box::new(disk.clone()));
        assert_eq!(put(&mut sink, &["one", "two"]), 2);
        disk.grow(6);
        assert_eq!(put(&mut sink, &["one", "two", "three"]), 2);
        assert_eq!(put(&mut sink, &["four"]), 1);
        disk.grow(100);
        assert_eq!(put(&mut sink, &["five", "six"]), 0);
        assert_eq!(disk.text(), "one\ntw\nfive\nsix\n");
    }

    #[test]
    fn a_batch_that_fails_between_two_lines_cuts_none() {
        let disk = Disk::default();
        let mut sink = Sink::new("log".into(), Box::new(disk.clone()));
        disk.grow(4);
        assert_eq!(put(&mut sink, &["one", "two"]), 1);
        disk.grow(100);
        assert_eq!(put(&mut sink, &["three"]), 0);
        assert_eq!(disk.text(), "one\nthree\n");
    }
}
