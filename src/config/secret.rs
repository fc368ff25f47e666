//! Hashes of keys and tokens, as files have them: `sha256:` and 64 hexadecimal digits.
//!
//! Keys and tokens are long random words, so one round of SHA-256 without a salt keeps them as well as a slow hash would.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const BYTES: usize = 32;
const PREFIX: &str = "sha256:";

/// The SHA-256 of a secret. It is compared in constant time, and `Debug` says nothing of it.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; BYTES]);

impl SecretHash {
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// `None`: the text does not begin as a hash does. `Some(None)`: it does, and is none.
    pub fn parse(text: &str) -> Option<Option<Self>> {
        text.strip_prefix(PREFIX).map(of_hex)
    }

    /// For people: too few digits to find it again.
    pub fn short(&self) -> String {
        let digits: String = self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PREFIX}{digits}")
    }

    /// For tables of hashes. Nobody can choose a part of it.
    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

fn of_hex(digits: &str) -> Option<SecretHash> {
    let digits = Some(digits.as_bytes()).filter(|digits| digits.len() == 2 * BYTES)?;
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut hash = [0; BYTES];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(SecretHash(hash))
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

/// As files have it.
impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_strictly_and_shown_to_files_alone() {
        let hash = SecretHash::of(b"abc");
        let text = hash.to_string();
        assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(SecretHash::parse(&text), Some(Some(hash)));
        let upper = format!("sha256:{}", text[7..].to_uppercase());
        assert_eq!(SecretHash::parse(&upper), Some(Some(hash)));
        for wrong in [format!("sha256:{}", "+f".repeat(32)), text[..70].to_owned(), text.clone() + "0"] {
            assert_eq!(SecretHash::parse(&wrong), Some(None), "{wrong}");
        }
        assert_eq!(SecretHash::parse(&format!("sha256:{}", "ä".repeat(32))), Some(None));
        assert_eq!(SecretHash::parse(&text[7..]), None);
        assert_eq!(
            (hash.short(), format!("{hash:?}")),
            ("sha256:ba7816bf".to_owned(), "SecretHash(..)".to_owned())
        );
        assert_ne!(hash, SecretHash::of(b"abd"));
    }
}
