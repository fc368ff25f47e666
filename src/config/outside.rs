//! The things besides its text that a config is read from: variables, files, the system's certificate authorities.

use std::fs::File;
use std::io::{self, Read};
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
    let mut bytes = Vec::new();
    // to open a pipe could take for ever
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        Err(io::Error::other("it is larger than 1MiB"))
    } else {
        Ok(bytes)
    }
}
