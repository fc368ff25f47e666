//! The last bytes of a stream of events: whether a new event can begin behind them.

/// The end of an event; a stream begins there too.
const BOUNDARY: [u8; 4] = *b"\r\n\r\n";

/// The last bytes that have passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail([u8; 4]);

impl Default for Tail {
    fn default() -> Self {
        Self(BOUNDARY)
    }
}

impl Tail {
    /// These bytes have passed.
    pub(crate) fn follow(&mut self, chunk: &[u8]) {
        let kept = self.0.len().saturating_sub(chunk.len());
        let mut tail = [0; 4];
        tail[..kept].copy_from_slice(&self.0[4 - kept..]);
        tail[kept..].copy_from_slice(&chunk[chunk.len() - (4 - kept)..]);
        self.0 = tail;
    }

    pub(crate) fn is_boundary(self) -> bool {
        matches!(self.0, BOUNDARY | [_, _, b'\n', b'\n'] | [_, _, b'\r', b'\r'])
    }

    pub(crate) fn is_line_end(self) -> bool {
        matches!(self.0, [.., b'\n' | b'\r'])
    }

    /// Behind an event of a JSON value a line.
    pub(crate) fn is_newline(self) -> bool {
        self.0[3] == b'\n'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_an_empty_line_however_it_is_split() {
        let table: [(&[&str], bool); 8] = [
            (&[], true),
            (&["data: 1\n\n"], true),
            (&["data: 1\n", "\n"], true),
            (&["data: 1\r\n", "\r", "\n"], true),
            (&["data: 1\r\r"], true),
            (&["data: 1\n"], false),
            (&["data: 1\n\n", "d"], false),
            (&["data: 1\r\n\r"], false),
        ];
        for (pieces, want) in table {
            let mut tail = Tail::default();
            pieces.iter().for_each(|piece| tail.follow(piece.as_bytes()));
            assert_eq!(tail.is_boundary(), want, "{pieces:?}");
        }
    }
}
