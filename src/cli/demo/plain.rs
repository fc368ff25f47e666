//! Printing the demo as lines, without a terminal: one every two seconds, and one for each event.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Zoned;

use super::about::About;
use super::classes;
use super::journal::Journal;
use super::picture::{Picture, Row};

const EVERY: Duration = Duration::from_secs(2);

pub(super) struct Plain {
    out: Box<dyn Write>,
    next: Duration,
    /// Journal entries written so far.
    shown: u64,
}

impl Plain {
    pub(super) fn new(out: Box<dyn Write>) -> Self {
        Self { out, next: Duration::ZERO, shown: 0 }
    }

    pub(super) fn greet(&mut self, about: &About) -> io::Result<()> {
        writeln!(self.out, "{}\nto ask something yourself:", about.describe(usize::MAX))?;
        about.curl(usize::MAX).iter().try_for_each(|line| writeln!(self.out, "  {line}"))?;
        self.out.flush()
    }

    pub(super) fn show(&mut self, picture: &Picture, journal: &Journal) -> io::Result<()> {
        let (entries, made) = journal.since(self.shown);
        for entry in entries {
            writeln!(self.out, "{}  * {} {}", entry.time, entry.who.as_str(), entry.what)?;
        }
        self.shown = made;
        if picture.elapsed >= self.next {
            self.next = picture.elapsed + EVERY;
            writeln!(self.out, "{}  {}", Zoned::now().strftime("%H:%M:%S"), line(picture))?;
        }
        self.out.flush()
    }
}

fn line(picture: &Picture) -> String {
    let nodes: String = picture.rows().iter().map(node).collect();
    let counts = picture.counts;
    let retried = picture.retried();
    if !picture.classes.is_empty() {
        let classes: String = picture.classes.iter().map(classes::plain).collect();
        return format!("{nodes}{classes}{} failed   retried: {retried}", counts.failed);
    }
    format!("{nodes}clients: {} answered, {} failed   retried: {retried}", counts.done, counts.failed)
}

fn node(row: &Row) -> String {
    let limit = row.max_in_flight.map_or_else(String::new, |limit| format!("/{limit}"));
    format!("{}: {:<15} {:>3}{limit} in flight   ", row.name, row.state, row.in_flight)
}
