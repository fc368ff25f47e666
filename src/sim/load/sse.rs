//! A client's view of an event stream: the number of events, errors, and a proper end.

use crate::sim::stamp;

/// Longest part of a line that is kept: all that matters is at a line's beginning, or in a short last event.
const LINE_MAX: usize = 64 * 1024;

/// Counts the events of one stream, however its bytes are split.
#[derive(Debug, Default)]
pub(super) struct Sse {
    /// Events with data, `[DONE]` included.
    pub events: u32,
    /// The last event was `[DONE]`.
    pub done: bool,
    pub error: bool,
    /// The engine was stopped (`finish_reason: "abort"`).
    pub aborted: bool,
    /// Send times of the events that carry one; the reader takes them from here.
    pub stamps: Vec<u64>,
    has_data: bool,
    /// The beginning of an incomplete line.
    line: Vec<u8>,
}

impl Sse {
    /// Resets the state for the next stream.
    pub(super) fn reset(&mut self) {
        let (line, stamps) = (std::mem::take(&mut self.line), std::mem::take(&mut self.stamps));
        *self = Self { line, stamps, ..Self::default() };
        self.line.clear();
        self.stamps.clear();
    }

    pub(super) fn feed(&mut self, mut data: &[u8]) {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                self.line(&data[..end]);
            } else {
                let mut line = std::mem::take(&mut self.line);
                keep(&mut line, &data[..end]);
                self.line(&line);
                line.clear();
                self.line = line;
            }
            data = &data[end + 1..];
        }
        keep(&mut self.line, data);
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.events += u32::from(std::mem::take(&mut self.has_data));
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.has_data = true;
            self.data(data.trim_ascii());
        } else if let Some(kind) = line.strip_prefix(b"event:") {
            self.error |= kind.trim_ascii() == b"error";
        }
    }

    fn data(&mut self, data: &[u8]) {
        self.done = data == b"[DONE]";
        if let Some(first) = data.strip_prefix(b"{") {
            let first = first.trim_ascii_start();
            self.stamps.extend(stamp::read(first));
            self.error |= first.starts_with(br#""error""#) || first.starts_with(br#""object":"error""#);
            self.aborted |= contains(data, br#""finish_reason":"abort""#);
        }
    }
}

fn keep(line: &mut Vec<u8>, data: &[u8]) {
    let room = LINE_MAX - line.len();
    line.extend_from_slice(&data[..data.len().min(room)]);
}

/// Compares the first two bytes before anything else: this runs for every token of a benchmark.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == wanted[0]) {
        rest = &rest[at..];
        if rest.starts_with(wanted) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str, step: usize) -> Sse {
        let mut sse = Sse::default();
        text.as_bytes().chunks(step).for_each(|piece| sse.feed(piece));
        sse
    }

    #[test]
    fn any_split_gives_the_same_counts() {
        let text = "data: {\"choices\":[]}\n\ndata: {\"choices\":[1]}\r\n\r\n: hello\n\ndata: [DONE]\n\n";
        for step in 1..=text.len() {
            let sse = seen(text, step);
            assert_eq!((sse.events, sse.done, sse.error, sse.aborted), (3, true, false, false), "{step}");
        }
    }

    #[test]
    fn errors_and_aborts_are_seen() {
        assert!(seen("data: {\"error\": {\"code\": 500}}\n\ndata: [DONE]\n\n", 9).error);
        assert!(seen("data: { \"error\":1}\n\n", 100).error);
        assert!(seen("event: error\ndata: {}\n\n", 3).error);
        assert!(seen("data: {\"choices\":[{\"finish_reason\":\"abort\"}]}\n\n", 5).aborted);
        let said =
            seen("data: {\"choices\":[{\"delta\":\"an \\\"error\\\"\",\"finish_reason\":null}]}\n\n", 5);
        assert!(!said.error && !said.aborted && !said.done);
    }

    #[test]
    fn done_must_come_last_and_reset_forgets() {
        let mut sse = seen("data: [DONE]\n\ndata: {}\n\ndata: par", 100);
        assert_eq!((sse.events, sse.done), (2, false));
        sse.reset();
        sse.feed(b"data: [DONE]\n\n");
        assert_eq!((sse.events, sse.done), (1, true));
    }
}
