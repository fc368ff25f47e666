//! Tokens of the admin address: who may look, and who may give orders.
//!
//! A token's file has the token itself, or `sha256:` and the hash of it. In memory there are hashes only.

use std::path::{Path, PathBuf};

use crate::config::{AdminToken, Config, Role, SecretHash, read_file};

/// The fewest characters of a token: 128 bits as hexadecimal digits.
const LENGTH_MIN: usize = 32;
const FILE_BYTES_MAX: u64 = 4096;
const NO_WORD: &str = "is no token: it has more than one word, or other characters than ASCII's";

/// Those who may use the admin address.
#[derive(Debug, Default)]
pub struct Tokens {
    hashes: Vec<(Role, SecretHash)>,
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

    /// The roles of who shows this token. All are compared, each in constant time.
    pub fn roles(&self, token: &str) -> Vec<Role> {
        let shown = SecretHash::of(token.as_bytes());
        self.hashes.iter().filter(|(_, hash)| shown == *hash).map(|(role, _)| *role).collect()
    }

    /// All files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// The hash of the token in a file. No message has any of its text.
fn read(file: &Path) -> Result<SecretHash, String> {
    let bytes = read_file(file, FILE_BYTES_MAX).map_err(|error| format!("cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| NO_WORD.to_owned())?;
    let text = text.trim();
    if let Some(hash) = SecretHash::parse(text) {
        return hash.ok_or_else(|| "has no SHA-256 of 64 hexadecimal digits behind `sha256:`".to_owned());
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.len() {
        length if length >= LENGTH_MIN && is_plain => Ok(SecretHash::of(text.as_bytes())),
        _ if !is_plain => Err(NO_WORD.to_owned()),
        _ => Err(format!(
            "is too short for a token: use {LENGTH_MIN} characters or more, as from `openssl rand -hex 32`"
        )),
    }
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
        let hashed = format!("{}\n", SecretHash::of(other.as_bytes()));
        let tokens = loaded(&[(Role::Read, TOKEN), (Role::Operate, &hashed), (Role::Register, TOKEN)]);
        let tokens = tokens.expect("three tokens");
        assert!(!tokens.is_open() && Tokens::default().is_open());
        for (shown, roles) in [
            (TOKEN, &[Role::Read, Role::Register][..]),
            (&other, &[Role::Operate]),
            ("", &[]),
            (&TOKEN[1..], &[]),
            (&hashed, &[]),
        ] {
            assert_eq!(tokens.roles(shown), roles, "{shown}");
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
