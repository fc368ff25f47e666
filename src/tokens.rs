//! Tokens of the admin address: who may look, and who may give orders.
//!
//! A token's file has the token itself, or `sha256:` and the hash of it. In memory there are hashes only. A token is a long random
//! word, so one round of SHA-256 without a salt keeps it as well as a slow hash would.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::{AdminToken, Config, Role};

/// The fewest characters of a token: 128 bits as hexadecimal digits.
const LENGTH_MIN: usize = 32;
const FILE_BYTES_MAX: u64 = 4096;
const HASH: &str = "sha256:";

type Hash = [u8; 32];

/// Those who may use the admin address.
#[derive(Debug, Default)]
pub struct Tokens {
    hashes: Vec<(Role, Hash)>,
    files: Vec<PathBuf>,
}

impl Tokens {
    /// Reads the files that the config names; or every problem with them, by path in the config.
    pub fn load(config: &Config) -> Result<Self, Vec<(String, String)>> {
        let (mut tokens, mut faults) = (Self::default(), Vec::new());
        for AdminToken { role, file, place } in &config.server.admin.tokens {
            tokens.files.push(file.clone());
            match read(file) {
                Ok(hash) => tokens.hashes.push((*role, hash)),
                Err(why) => faults.push((place.clone(), format!("{}: {why}", file.display()))),
            }
        }
        if faults.is_empty() { Ok(tokens) } else { Err(faults) }
    }

    /// Anybody who reaches the address may use it.
    pub fn is_open(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The role of who shows this token. All are compared, each in constant time.
    pub fn role(&self, token: &str) -> Option<Role> {
        let shown = hash_of(token);
        let mut found = None;
        for (role, hash) in &self.hashes {
            let is_it: Choice = shown.ct_eq(hash);
            if is_it.into() {
                found = found.max(Some(*role));
            }
        }
        found
    }

    /// All files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

fn hash_of(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

/// The hash of the token in a file. No message has any of its text.
fn read(file: &Path) -> Result<Hash, String> {
    let length = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > FILE_BYTES_MAX {
        return Err("is no token: it has more than 4096 bytes".to_owned());
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let text = text.trim();
    if let Some(hex) = text.strip_prefix(HASH) {
        return from_hex(hex)
            .ok_or_else(|| "has no SHA-256 of 64 hexadecimal digits behind `sha256:`".to_owned());
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.len() {
        length if length >= LENGTH_MIN && is_plain => Ok(hash_of(text)),
        _ if !is_plain => {
            Err("is no token: it has more than one word, or other characters than ASCII's".to_owned())
        }
        _ => Err(format!(
            "is too short for a token: use {LENGTH_MIN} characters or more, as from `openssl rand -hex 32`"
        )),
    }
}

fn from_hex(hex: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if hex.len() != 2 * hash.len() || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn loaded(texts: &[(Role, &str)]) -> Result<Tokens, Vec<(String, String)>> {
        let directory = tempfile::tempdir().expect("a directory");
        let text = "server: { listen: 127.0.0.1:1 }\npools: { x: { nodes: [127.0.0.1:2] } }\n";
        let mut config = Config::parse(text, "a test").expect("a valid config");
        for (at, (role, text)) in texts.iter().enumerate() {
            let file = directory.path().join(at.to_string());
            std::fs::write(&file, text).expect("a file");
            config.server.admin.tokens.push(AdminToken { role: *role, file, place: format!("place {at}") });
        }
        Tokens::load(&config)
    }

    #[test]
    fn a_token_or_its_hash_opens_what_its_role_may() {
        let other = "f".repeat(32);
        let hashed = format!(
            "sha256:{}\n",
            hash_of(&other).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        );
        let tokens = loaded(&[(Role::Read, TOKEN), (Role::Operate, &hashed)]).expect("two tokens");
        assert!(!tokens.is_open() && Tokens::default().is_open());
        for (shown, role) in [
            (TOKEN, Some(Role::Read)),
            (&other, Some(Role::Operate)),
            ("", None),
            (&TOKEN[1..], None),
            (&hashed, None),
        ] {
            assert_eq!(tokens.role(shown), role, "{shown}");
        }
    }

    #[test]
    fn a_file_that_is_no_token_is_refused_without_its_text() {
        let long = "x".repeat(5000);
        for text in
            ["", "short-secret", "two words that are long enough to be one token", "sha256:abc", &long]
        {
            let faults = loaded(&[(Role::Read, TOKEN), (Role::Read, text)]).expect_err("no token");
            assert_eq!(faults.len(), 1, "{text}");
            assert_eq!(faults[0].0, "place 1");
            assert!(text.is_empty() || !faults[0].1.contains(text), "{}", faults[0].1);
        }
        let config = || loaded(&[]).expect("none").files().len();
        assert_eq!(config(), 0);
    }
}
