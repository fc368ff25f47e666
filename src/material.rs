//! All that is read from the files that a config names: it is loaded and checked as a whole before anything uses it.

pub mod leases;

use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::Config;
use crate::tls::Listeners;
use crate::tokens::Tokens;

/// The content of the files.
#[derive(Debug, Default)]
pub struct Material {
    pub tls: Listeners,
    pub tokens: Tokens,
}

impl Material {
    /// Reads all files; or every problem with them, by path in the config.
    pub fn load(config: &Config, now: SystemTime) -> Result<Self, Vec<(String, String)>> {
        Self::default().next(config, now)
    }

    /// The same for another reading: what the gateway has got by itself goes over to it.
    pub fn next(&self, config: &Config, now: SystemTime) -> Result<Self, Vec<(String, String)>> {
        match (self.tls.next(config, now), Tokens::load(config), leases::check(config)) {
            (Ok(tls), Ok(tokens), Ok(())) => Ok(Self { tls, tokens }),
            (tls, tokens, state) => {
                let faults = [tls.err(), tokens.err(), state.err().map(|fault| vec![fault])];
                Err(faults.into_iter().flatten().flatten().collect())
            }
        }
    }

    /// All files that were read.
    pub fn files(&self) -> Vec<PathBuf> {
        self.tls.files().iter().chain(self.tokens.files()).cloned().collect()
    }
}
