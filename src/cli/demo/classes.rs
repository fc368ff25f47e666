//! A class of requests as shown in the table and the lines: those that wait in line, and the times of its answers.

use std::time::Duration;

use crate::config::Class;
use crate::sim::load::{Counts, Latencies};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassRow {
    pub class: Class,
    pub clients: usize,
    /// Requests that wait for a slot, in the gateway's view.
    pub waiting: usize,
    /// The clients' results so far.
    pub counts: Counts,
    pub times: Spread,
}

/// Times of whole answers so far, from the request on. Zero without answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// Half of them took at most so long.
    pub half: Duration,
    /// 99% of them did.
    pub nearly_all: Duration,
}

impl Spread {
    pub(super) fn of(latencies: &Latencies) -> Self {
        Self { half: latencies.at(0.5), nearly_all: latencies.at(0.99) }
    }
}

/// A time in seconds; a dash while there is none.
pub(super) fn seconds(time: Duration) -> String {
    if time.is_zero() { "-".to_owned() } else { format!("{:.1} s", time.as_secs_f64()) }
}

/// Those who wait, as in "0 interactive and 28 batch".
pub(super) fn in_line(rows: &[ClassRow]) -> String {
    let parts: Vec<_> = rows.iter().map(|row| format!("{} {}", row.waiting, row.class.as_str())).collect();
    parts.join(" and ")
}

/// The class in a plain line.
pub(super) fn plain(row: &ClassRow) -> String {
    let ClassRow { class, waiting, counts, times, .. } = row;
    let (half, nearly_all) = (seconds(times.half), seconds(times.nearly_all));
    let (class, done) = (class.as_str(), counts.done);
    format!("{class}: {waiting:>2} in line, {done:>3} answered, half in {half:>6}, 99% in {nearly_all:>6}   ")
}

/// Rows for the tests of this folder.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(crate) fn rows() -> Vec<ClassRow> {
        let row = |class, clients, waiting, done, half, nearly_all| ClassRow {
            class,
            clients,
            waiting,
            counts: Counts {
                sent: done + clients as u64,
                in_flight: clients as u64,
                done,
                ..Counts::default()
            },
            times: Spread {
                half: Duration::from_millis(half),
                nearly_all: Duration::from_millis(nearly_all),
            },
        };
        vec![row(Class::Interactive, 3, 0, 61, 3049, 5600), row(Class::Batch, 40, 28, 240, 9800, 14_240)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_in_words() {
        let rows = testing::rows();
        assert_eq!(in_line(&rows), "0 interactive and 28 batch");
        let wanted = "batch: 28 in line, 240 answered, half in  9.8 s, 99% in 14.2 s";
        assert_eq!(plain(&rows[1]).trim_end(), wanted);
        assert_eq!(seconds(Duration::ZERO), "-");
    }
}
