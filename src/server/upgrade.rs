//! The two sides of a hand-over of listening sockets: whether a new process waits, and what that one says meanwhile.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Shortly before Pingora gives up and ends the process, whose own words are `EAGAIN, exiting`.
const GIVES_UP_AFTER: Duration = Duration::from_millis(5800);

/// Says that sockets are waited for, and in the end that nobody has handed them over, unless what this returns was
/// dropped before.
pub(super) fn announce_wait(sock: &Path) -> Sender<()> {
    let shown = sock.display().to_string();
    log::info!("waits 6 seconds at {shown} for the sockets of the process that runs now: send it SIGQUIT");
    let (handed_over, wait) = channel();
    thread::spawn(move || {
        if wait.recv_timeout(GIVES_UP_AFTER) == Err(RecvTimeoutError::Timeout) {
            log::error!(
                "nobody has handed over sockets at {shown}; gives up. The process that runs now goes on. Was it sent \
                 SIGQUIT, and started with the same listen address and --upgrade-sock?"
            );
        }
    });
    handed_over
}

/// The flag of a socket that accepts connections, in the kernel's table.
const LISTENING: &str = "00010000";

/// Whether somebody listens at this path. A connection to ask would be taken for the hand-over itself, so the kernel is
/// asked: by a path that stands even where a service sees processes only (`ProcSubset=pid`).
pub(super) fn is_awaited(sock: &Path) -> bool {
    match std::fs::read_to_string("/proc/self/net/unix") {
        Ok(table) => listens(&table, &sock.display().to_string()),
        // without that table, the file has to do
        Err(_) => sock.exists(),
    }
}

fn listens(table: &str, path: &str) -> bool {
    let is_it = |line: &str| {
        let name = line.strip_suffix(path);
        name.is_some_and(|rest| rest.ends_with(' ')) && line.split_whitespace().nth(3) == Some(LISTENING)
    };
    table.lines().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 42023 /tmp/a.sock
0000000000000000: 00000003 00000000 00000000 0001 03 42024 /tmp/b.sock
0000000000000000: 00000003 00000000 00000000 0001 03 42025
";

    #[test]
    fn only_a_listening_socket_at_that_path_counts() {
        assert!(listens(TABLE, "/tmp/a.sock"));
        assert!(!listens(TABLE, "a.sock"));
        assert!(!listens(TABLE, "/tmp/b.sock"));
        assert!(!listens(TABLE, "/tmp/c.sock"));
    }

    #[test]
    fn a_real_socket_is_seen_as_long_as_it_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        assert!(!is_awaited(&path));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(is_awaited(&path));
        drop(listener);
        assert!(!is_awaited(&path));
    }
}
