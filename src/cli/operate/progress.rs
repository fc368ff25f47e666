//! The progress of a wait: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use super::orders::Node;

/// Between two lines in a file or a pipe.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    next: Duration,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: stdout().is_terminal(), next: Duration::ZERO }
    }

    pub(super) fn show(&mut self, node: &Node, elapsed: Duration) {
        if let Some(text) = self.text(node, elapsed) {
            say(&text);
        }
    }

    fn text(&mut self, node: &Node, elapsed: Duration) -> Option<String> {
        let plural = if node.in_flight == 1 { "" } else { "s" };
        let line =
            format!("{}: {} request{plural} in flight, {} s", node.name, node.in_flight, elapsed.as_secs());
        if self.is_terminal {
            return Some(format!("\r\x1b[K{line}"));
        }
        let is_due = node.in_flight > 0 && elapsed >= self.next;
        is_due.then(|| {
            self.next = elapsed + LINE_EVERY;
            line + "\n"
        })
    }

    /// The last line, if there is anything to say.
    pub(super) fn end(&self, text: &str) {
        let begin = if self.is_terminal { "\n" } else { "" };
        let end = if text.is_empty() { "" } else { "\n" };
        say(&format!("{begin}{text}{end}"));
    }
}

/// The wait goes on even if nobody reads this any more.
fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(is_terminal: bool) -> Vec<Option<String>> {
        let mut progress = Progress { is_terminal, next: Duration::ZERO };
        let node = |in_flight| Node { name: "a".to_owned(), in_flight, ..Node::default() };
        let table = [(12, 0), (3, 1), (1, 10), (0, 25)];
        table.map(|(count, second)| progress.text(&node(count), Duration::from_secs(second))).to_vec()
    }

    #[test]
    fn a_terminal_shows_one_line_that_changes_and_a_file_one_every_ten_seconds() {
        let text = |line: &str| Some(line.to_owned());
        assert_eq!(
            texts(true)[..2],
            [text("\r\x1b[Ka: 12 requests in flight, 0 s"), text("\r\x1b[Ka: 3 requests in flight, 1 s")]
        );
        assert_eq!(
            texts(false),
            [text("a: 12 requests in flight, 0 s\n"), None, text("a: 1 request in flight, 10 s\n"), None]
        );
    }
}
