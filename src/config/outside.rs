//! The things besides its text that a config is read from: variables, files, the system's certificate authorities.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::environment::Lookup;

/// The largest file that a config may name, in bytes: enough for all authorities of a system.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The things outside of the text.
#[derive(Clone, Copy)]
pub(super) struct Outside<'a> {
    pub variable: Lookup<'a>,
    /// The content of a file.
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The system's certificate authorities.
    pub authorities: &'a dyn Fn() -> Vec<CertificateDer<'static>>,
}

impl Outside<'static> {
    /// Nothing is.
    pub(super) const NOTHING: Self =
        Self { variable: &|_| None, file: &|_| Err(io::ErrorKind::NotFound.into()), authorities: &Vec::new };

    /// Of this process.
    pub(super) const PROCESS: Self = Self {
        variable: &|name| std::env::var(name).ok(),
        file: &read,
        authorities: &|| rustls_native_certs::load_native_certs().certs,
    };
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_file(path, FILE_BYTES_MAX)
}

/// The state of a file, as far as it tells whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl Stamp {
    /// Follows links: Kubernetes swaps one to change a file.
    pub fn of(file: &Path) -> Self {
        let stamp = |data: Metadata| (data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec());
        Self(file.metadata().ok().map(stamp))
    }
}

/// The content of a file of at most so many bytes. Others than regular files are refused: a pipe could keep the reader for ever.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        Err(io::Error::other(format!("it is larger than {}", shown(bytes_max))))
    } else {
        Ok(bytes)
    }
}

fn shown(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes.is_multiple_of(MIB) { format!("{}MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_not_more_of_it_than_may_be() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, pipe) = (dir.path().join("file"), dir.path().join("pipe"));
        std::fs::write(&file, "12345").expect("a file");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
        assert!(made.success());
        let read = |path: &Path, most| read_file(path, most).map_err(|error| error.to_string());
        assert_eq!(read(&file, 5), Ok(b"12345".to_vec()));
        assert_eq!(read(&file, 4), Err("it is larger than 4 bytes".to_owned()));
        for other in [&pipe, Path::new("/dev/zero"), dir.path()] {
            assert_eq!(read(other, 5), Err("it is not a file".to_owned()), "{}", other.display());
        }
        std::fs::write(&file, vec![0; 1 + (1 << 20)]).expect("a file");
        assert_eq!(read(&file, 1 << 20), Err("it is larger than 1MiB".to_owned()));
    }
}
