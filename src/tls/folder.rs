//! The state folder of `tls.auto`: keys and certificates, for the gateway's own user alone.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::certificate::FILE_BYTES_MAX;
use crate::config::{Auto, read_file};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Any right of group and others.
const OTHERS: u32 = 0o077;

/// The file of the account at the server, with its key.
pub fn account_file(auto: &Auto) -> PathBuf {
    auto.folder().join("account.json")
}

/// Looks whether the folder can be used, without changing anything: who checks a config may be another user.
pub(super) fn check(auto: &Auto) -> Result<(), String> {
    for folder in [&auto.state, &auto.folder()] {
        let Some(found) = look(folder)? else { return Ok(()) };
        check_mode(folder, &found, "700")?;
    }
    for file in [account_file(auto), auto.file()] {
        if let Some(found) = metadata(&file)? {
            check_mode(&file, &found, "600")?;
        }
    }
    Ok(())
}

/// Looks whether files can be written there, without changing anything. One that is missing is made with the first file.
pub fn check_usable(folder: &Path) -> Result<(), String> {
    look(folder).map(drop)
}

/// A folder that can be used; `None`: it is missing, and can be made.
fn look(folder: &Path) -> Result<Option<Metadata>, String> {
    let Some(found) = metadata(folder)? else { return check_parent(folder).map(|()| None) };
    if !found.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    check_access(folder).map(|()| Some(found))
}

fn metadata(path: &Path) -> Result<Option<Metadata>, String> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot look at {}: {error}", path.display())),
    }
}

fn check_mode(path: &Path, found: &Metadata, wanted: &str) -> Result<(), String> {
    let mode = found.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(format!("{path} holds private keys and is open to others (mode {mode:o}): `chmod {wanted} {path}`"))
}

/// A folder that is missing is made when the first file is written.
fn check_parent(folder: &Path) -> Result<(), String> {
    let there =
        folder.ancestors().skip(1).map(|above| if above == Path::new("") { Path::new(".") } else { above });
    for above in there {
        if metadata(above)?.is_some() {
            return check_access(above)
                .map_err(|message| format!("{} cannot be made: {message}", folder.display()));
        }
    }
    Ok(())
}

fn check_access(folder: &Path) -> Result<(), String> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        format!("the gateway's user cannot write into {}: {}", folder.display(), io::Error::from(error))
    })
}

/// Makes the folder, and looks whether it can be used.
pub fn prepare(auto: &Auto) -> Result<(), String> {
    let folder = auto.folder();
    make(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    check(auto)
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}

/// Puts this content in place of the file's, whole or not at all, with the folders above it.
pub fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    let folder = file.parent().ok_or(ErrorKind::InvalidInput)?;
    make(folder)?;
    replace(folder, file, content, |_| Ok(()))
}

/// The same in a folder that is there. `prepare` gets the new file, which is its owner's alone, before there is anything in it.
pub fn replace(
    folder: &Path,
    file: &Path,
    content: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write_new(&new, content, prepare).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        // the fault is told; that of removing what is left would hide it
        let _ = fs::remove_file(&new);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(new: &Path, content: &[u8], prepare: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // one left by a process that died may have any mode, and one made by others may lead anywhere
    let _ = fs::remove_file(new);
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(new)?;
    prepare(&opened)?;
    opened.write_all(content)?;
    opened.sync_all()
}

/// The content of a file, if there is one.
pub fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_file(file, FILE_BYTES_MAX) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
