//! Joins the pieces of a body into one buffer, without copying if there is only one.

use bytes::{Bytes, BytesMut};

/// Joins pieces. A single piece is kept as it came; only several are copied.
#[derive(Debug, Default)]
pub struct Joined {
    first: Bytes,
    all: BytesMut,
    /// Capacity to reserve when the second piece arrives, in bytes.
    expected: usize,
}

impl Joined {
    pub fn expecting(expected: usize) -> Self {
        Self { expected, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.is_empty() {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(self.expected.max(self.first.len() + piece.len()));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
    }

    pub fn bytes(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }

    pub fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_pieces_are_copied() {
        let one = Bytes::from(b"one".to_vec());
        let mut joined = Joined::default();
        joined.push(Bytes::new());
        joined.push(one.clone());
        joined.push(Bytes::new());
        assert_eq!((joined.len(), joined.bytes()), (3, &b"one"[..]));
        let mut alone = Joined::expecting(100);
        [Bytes::new(), one.clone(), Bytes::new()].into_iter().for_each(|piece| alone.push(piece));
        assert_eq!(alone.into_bytes().as_ptr(), one.as_ptr());
        joined.push(Bytes::from_static(b"two"));
        joined.push(Bytes::from_static(b"three"));
        assert_eq!(joined.bytes(), b"onetwothree");
        assert_eq!(joined.into_bytes(), "onetwothree");
    }
}
