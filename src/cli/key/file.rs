//! The file of keys on the disk: read and written by one command at a time, and replaced as a whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::config::{ApiKey, Problems};

/// The mode of a file that was not there.
const MODE: u32 = 0o600;

/// The file of keys, which no other command changes as long as this lives.
pub(super) struct KeyFile {
    /// Behind links, which stay.
    path: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl KeyFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        // the file itself is replaced: its folder stays
        let lock = File::open(&folder)?;
        lock.lock()?;
        Ok(Self { path, folder, _lock: lock })
    }

    /// Its text and its keys; none of either if it is not there.
    pub(super) fn read(&self) -> Result<(String, Vec<ApiKey>), Problems> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((String::new(), Vec::new())),
            Ok(text) => {
                let keys = ApiKey::parse(&text, &self.path.display().to_string())?;
                Ok((text, keys))
            }
            // it says what is wrong with it
            Err(_) => ApiKey::load(&self.path).map(|keys| (String::new(), keys)),
        }
    }

    /// Replaces the file in one step. Owner and mode stay; a new one is its owner's alone.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.folder.join(format!(".{name}.{}", std::process::id()));
        let written = self.write_to(&temporary, text).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            // it may not be there
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write_to(&self, temporary: &Path, text: &str) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(temporary)?;
        if let Ok(old) = fs::metadata(&self.path) {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}
