//! The place of a part within the bytes that it was taken from.

use std::ops::Range;

/// The offsets of a part within the whole. `None`: it is no part of it.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len()).filter(|end| *end <= whole.len())?;
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_a_place_and_others_have_none() {
        let bytes = b"abcdef";
        let whole = &bytes[1..5];
        for (part, want) in [
            (&bytes[1..5], Some(0..4)),
            (&bytes[2..4], Some(1..3)),
            (&bytes[5..5], Some(4..4)),
            (&bytes[0..3], None),
            (&bytes[3..6], None),
            (&bytes[6..6], None),
        ] {
            assert_eq!(range_in(whole, part), want, "{part:?}");
        }
    }
}
