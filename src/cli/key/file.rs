//! The file of keys on the disk: read and written by one command at a time, and replaced as a whole.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::config::{ApiKey, Problems};
use crate::tls::folder;

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
        folder::replace(&self.folder, &self.path, text.as_bytes(), |new| self.adopt(new))
    }

    fn adopt(&self, new: &File) -> io::Result<()> {
        let Ok(old) = fs::metadata(&self.path) else { return Ok(()) };
        let made = new.metadata()?;
        if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        new.set_permissions(Permissions::from_mode(old.mode() & 0o777))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_link_is_not_followed_and_the_mode_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("other"), "of somebody else").expect("a file");
        std::os::unix::fs::symlink(path("other"), path(&format!(".keys.yaml.{}", std::process::id())))
            .expect("a link");
        let mode = || fs::metadata(path("keys.yaml")).expect("it is there").mode() & 0o777;
        let file = KeyFile::open(&path("keys.yaml")).expect("a folder");
        file.write("keys: []\n").expect("it is written");
        assert_eq!(
            (fs::read_to_string(path("other")).expect("a file"), mode()),
            ("of somebody else".into(), 0o600)
        );
        fs::set_permissions(path("keys.yaml"), Permissions::from_mode(0o640)).expect("its owner");
        file.write("keys:   []\n").expect("it is written");
        assert_eq!((file.read().expect("no keys").0.as_str(), mode()), ("keys:   []\n", 0o640));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2, "nothing else is left");
    }
}
