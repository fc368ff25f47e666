//! The start of the process that takes over from this one, as nginx does it on SIGUSR2.
//!
//! It must not be a child of this one: a service manager is told of the end of its own children, and of those that their parent has
//! left behind. So a process in between starts it, and ends.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, io};

const UPGRADE: &str = "--upgrade";
const DETACH: &str = "--detach";

/// The program to start: the one that is at this one's path by then.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

impl Program {
    /// To be called early: once the file has been replaced, the system does not tell its path any more.
    pub(super) fn of_this_process() -> io::Result<Self> {
        Ok(Self { path: env::current_exe()?, args: taking_over(env::args_os().skip(1)) })
    }

    /// Starts it and leaves it alone.
    pub(super) fn start(&self) -> io::Result<()> {
        if std::process::id() == 1 {
            return Err(io::Error::other("this process is the container's first, which would end with it"));
        }
        let mut between = Command::new(&self.path);
        // the watchdog of this process is the next one's, too
        between.args(&self.args).arg(DETACH).env_remove("WATCHDOG_PID").stdin(Stdio::null());
        let status = between.status();
        let status = status
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{}: {status}", self.path.display())))
        }
    }
}

/// Starts the process that the one in between is there for.
pub fn detach() -> io::Result<()> {
    let args = env::args_os().skip(1).filter(|arg| arg != DETACH);
    Command::new(env::current_exe()?).args(args).stdin(Stdio::null()).spawn().map(drop)
}

fn taking_over(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    args.filter(|arg| arg != UPGRADE && arg != DETACH).chain([UPGRADE.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_takes_over_with_the_same_arguments() {
        for args in [&["run", "-c", "a.yaml"][..], &["run", "--upgrade", "-c", "a.yaml"]] {
            let args = taking_over(args.iter().map(OsString::from));
            assert_eq!(args, ["run", "-c", "a.yaml", "--upgrade"]);
        }
    }
}
