//! Tests of HTTP/1 on bytes: tables of rules, and properties of any bytes.

mod any_bytes;
mod chunked;
mod request;
mod response;
mod write;

use bytes::Bytes;

use super::{Body, Malformed};

/// Decodes a body that arrives in these pieces: all its data, whether it ended, and the bytes left over.
fn take(body: &mut Body, pieces: &[&[u8]]) -> (Vec<u8>, Result<bool, Malformed>, usize) {
    let (mut out, mut rest) = (Vec::new(), Bytes::new());
    for piece in pieces {
        rest = Bytes::from([&rest[..], piece].concat());
        while !rest.is_empty() && !body.is_done() {
            match body.take(&mut rest) {
                Ok(data) if data.is_empty() => break,
                Ok(data) => out.extend_from_slice(&data),
                Err(Malformed) => return (out, Err(Malformed), rest.len()),
            }
        }
    }
    (out, Ok(body.is_done()), rest.len())
}

/// The bytes split at these places.
fn pieces<'a>(wire: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| (*cut).min(wire.len())).chain([0, wire.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect()
}
