//! Keyed hashes, for what must be recognised but not kept: credentials, and ids of unbounded length.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// The process' own random key: outside of it a hash means nothing.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A keyed hash of 64 bits. Never shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        Self(KEY.hash_one(parts))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_alone_have_equal_digests_and_none_is_shown() {
        let digest = Digest::of(&[b"Bearer", b"x"]);
        assert_eq!(digest, Digest::of(&[b"Bearer", b"x"]));
        for other in [&[&b"Bearerx"[..]][..], &[b"Beare", b"rx"], &[b"Bearer", b"x", b""], &[]] {
            assert_ne!(digest, Digest::of(other), "{other:?}");
        }
        assert_eq!(format!("{digest:?}"), "Digest");
    }
}
