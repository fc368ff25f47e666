//! The state file of leases: nodes that have registered themselves stay over a restart.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::config::{Config, read_file};
use crate::tls::folder;

const NAME: &str = "leases.json";
/// Enough for 64 pools with 4096 nodes each, of some 250 bytes.
const BYTES_MAX: u64 = 64 << 20;

/// The state file, if there is anything to keep: a pool takes nodes that register themselves.
pub fn file(config: &Config) -> Option<PathBuf> {
    let state = config.server.state.as_ref()?;
    config.pools.iter().any(|pool| pool.registration().is_some()).then(|| state.join(NAME))
}

/// Looks whether the file can be written, without changing anything.
pub(super) fn check(config: &Config) -> Result<(), (String, String)> {
    let Some(folder) = file(config).and_then(|file| file.parent().map(Path::to_owned)) else { return Ok(()) };
    folder::check_usable(&folder).map_err(|why| {
        let what = "nodes that register themselves are kept there over a restart";
        ("server.state".to_owned(), format!("{why}; {what}: name a folder, or write `state: off`"))
    })
}

/// The text of the file; `None`: there is none yet.
pub fn read(file: &Path) -> io::Result<Option<String>> {
    match read_file(file, BYTES_MAX) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts this text in place of the file's, whole or not at all; for the gateway's own user alone.
pub fn write(file: &Path, text: &str) -> io::Result<()> {
    folder::write(file, text.as_bytes())
}

/// Keeps a file that cannot be read from being overwritten; its new name.
pub fn put_aside(file: &Path) -> io::Result<PathBuf> {
    let aside = file.with_extension("json.broken");
    std::fs::rename(file, &aside).map(|()| aside)
}
