//! Tests of the chunked coding: valid and invalid bodies, and the encoder.

use proptest::prelude::*;

use super::super::{Body, Chunked, LAST_CHUNK, Malformed, SIZE_LINE_MAX, size_line};
use super::{pieces, take};

const LINE_MAX: usize = 8 * 1024;

fn decode(wire: &[&[u8]]) -> (Vec<u8>, Result<bool, Malformed>, usize) {
    take(&mut Body::Chunked(Chunked::default()), wire)
}

/// Only looks at a body: whether it ended, and the number of bytes that did not pass.
fn pass(wire: &[&[u8]]) -> (Result<bool, Malformed>, usize) {
    let (mut body, mut rest) = (Body::Chunked(Chunked::default()), Vec::new());
    for piece in wire {
        rest.extend_from_slice(piece);
        loop {
            match body.pass(&rest) {
                Ok(0) => break,
                Ok(passed) => drop(rest.drain(..passed)),
                Err(fault) => return (Err(fault), rest.len()),
            }
        }
    }
    (Ok(body.is_done()), rest.len())
}

#[test]
fn valid_chunked_bodies() {
    let longest = [b"5;".as_slice(), &b"x".repeat(LINE_MAX - 4), b"\r\nhello"].concat();
    let trailers = [b"0\r\n".as_slice(), b"T: ", &b"x".repeat(LINE_MAX - 7), b"\r\n\r\n"].concat();
    let table: [(&[u8], &[u8], bool, usize); 17] = [
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", true, 0),
        (b"5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!", true, 0),
        (b"5 \t;\ta\r\nhello\r\n0;b\r\n\r\n", b"hello", true, 0),
        (b"A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"0123456789", true, 0),
        (b"a\r\n0123456789\r\n00\r\nA:\r\nb: \xff\r\n\r\n", b"0123456789", true, 0),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello", true, 0),
        (b"ffffffffffffffff\r\nhello", b"hello", false, 0),
        (b"0\r\n\r\nmore", b"", true, 4),
        (b"5\r\nhel", b"hel", false, 0),
        (b"5\r\nhello\r\n", b"hello", false, 0),
        (b"5\r\nhello\r", b"hello", false, 1),
        (b"5\r\nhello\r\n0\r\n", b"hello", false, 0),
        (b"5\r\nhello\r\n0\r\n\r", b"hello", false, 1),
        (b"5", b"", false, 1),
        (b"5;\r", b"", false, 3),
        (&longest, b"hello", false, 0),
        (&trailers, b"", true, 0),
    ];
    for (wire, data, done, left) in table {
        assert_eq!(decode(&[wire]), (data.to_vec(), Ok(done), left), "{}", wire.escape_ascii());
    }
}

#[test]
fn invalid_chunked_bodies() {
    let long = [b"5;".as_slice(), &b"x".repeat(LINE_MAX - 2)].concat();
    let line = [b"5;".as_slice(), &b"x".repeat(LINE_MAX - 3), b"\r\nhello"].concat();
    let trailers = [b"0\r\n".as_slice(), &b"T: 1\r\n".repeat(LINE_MAX / 6 + 1)].concat();
    let trailer = [b"0\r\n".as_slice(), b"T: ", &b"x".repeat(LINE_MAX - 6), b"\r\n\r\n"].concat();
    let table: [&[u8]; 31] = [
        &long,
        &line,
        &trailers,
        &trailer,
        b";a\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 5\r\nhello",
        b"\r\n",
        b"\n",
        // more digits than fit into 64 bits
        b"10000000000000000\r\n",
        b"00000000000000005\r\nhello",
        // blanks with no extension after them
        b"5 \r\nhello",
        b"5 x\r\nhello",
        // line ends other than CRLF
        b"5\nhello",
        b"5\rhello",
        b"5;a\nhello",
        b"5;a\rb\r\nhello",
        b"5;a\0b\r\nhello",
        b"5;a\x7f\r\nhello",
        b"0\r\n\n",
        b"0\r\nT: 1\n\r\n",
        b"0\r\n\rX\r\n\r\n",
        // trailers that are not fields
        b"0\r\n \r\n",
        b"0\r\nT : 1\r\n",
        b"0\r\nT: 1\r\n 2\r\n",
        b"0\r\nGET / HTTP/1.1\r\n",
        b"0\r\nT: a\rb\r\n",
    ];
    for wire in table {
        assert_eq!(decode(&[wire]).1, Err(Malformed), "{}", wire[..wire.len().min(40)].escape_ascii());
    }
}

#[test]
fn data_before_a_fault_is_returned() {
    for wire in [&b"5\r\nhelloX"[..], b"5\r\nhello\n0", b"5\r\nhello\r\n\r\n", b"5\r\nhello\r\n0\r\n \r\n"] {
        let (data, end, _) = decode(&[wire]);
        assert_eq!((&*data, end), (&b"hello"[..], Err(Malformed)), "{}", wire.escape_ascii());
    }
}

#[test]
fn a_size_is_written_in_hexadecimal() {
    for size in [0, 1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
        let mut room = [0; SIZE_LINE_MAX];
        assert_eq!(size_line(size, &mut room), format!("{size:X}\r\n").as_bytes());
    }
}

proptest! {
    #[test]
    fn encoded_bodies_decode_however_they_are_split(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in proptest::collection::vec(0_usize..200, 0..10),
        more in proptest::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut wire: Vec<u8> = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(size_line(chunk.len(), &mut [0; SIZE_LINE_MAX]));
            wire.extend(chunk.iter().chain(b"\r\n"));
        }
        wire.extend(LAST_CHUNK.iter().chain(&more));
        prop_assert_eq!(decode(&pieces(&wire, &cuts)), (chunks.concat(), Ok(true), more.len()));
    }

    /// Bytes that are nearly a chunked body.
    #[test]
    fn any_split_gives_the_same_data_or_the_same_fault(
        parts in proptest::collection::vec(
            proptest::sample::select(&["0", "1", "3", "a", "\r\n", "\r\n", "\r", "\n", ";", " ", "T: 1", "abc", "\0"][..]),
            0..14,
        ),
        cuts in proptest::collection::vec(0_usize..40, 0..10),
    ) {
        let wire = parts.concat().into_bytes();
        let (data, end, left) = decode(&[&wire]);
        let passed = pass(&pieces(&wire, &cuts));
        prop_assert_eq!(passed.0, end);
        let split = decode(&pieces(&wire, &cuts));
        prop_assert_eq!((&data, end), (&split.0, split.1));
        if end.is_ok() {
            prop_assert_eq!((left, left), (split.2, passed.1));
        }
    }
}
