//! Hand-over of listening sockets to a new process: detects one that waits, and logs the wait.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Shortly before Pingora gives up and ends the process with no more than `EAGAIN, exiting`.
const GIVES_UP_AFTER: Duration = Duration::from_millis(5800);

/// Logs that this process waits for sockets, and later that nobody handed them over, unless the returned
/// sender is dropped first.
pub(super) fn announce_wait(sock: &Path) -> Sender<()> {
    let shown = sock.display().to_string();
    log::info!("waiting 6 seconds at {shown} for the sockets of the running process: send it SIGQUIT");
    let (handed_over, wait) = channel();
    thread::spawn(move || {
        if wait.recv_timeout(GIVES_UP_AFTER) == Err(RecvTimeoutError::Timeout) {
            log::error!(
                "no process handed over its sockets at {shown}; giving up. The running process keeps running. Was it sent \
                 SIGQUIT, and started with the same listen address and --upgrade-sock?"
            );
        }
    });
    handed_over
}

/// The flag of a socket that accepts connections, in the kernel's table.
const LISTENING: &str = "00010000";

/// A process listens at this path. Connecting to it would be taken for the hand-over itself, so the kernel's
/// table is read instead, under a path that exists even in a service that sees only processes
/// (`ProcSubset=pid`).
pub(super) fn successor_waits(sock: &Path) -> bool {
    match std::fs::read_to_string("/proc/self/net/unix") {
        Ok(table) => listens(&table, &sock.display().to_string()),
        // without that table, rely on the file
        Err(_) => sock.exists(),
    }
}

fn listens(table: &str, path: &str) -> bool {
    let is_listening = |line: &str| {
        let name = line.strip_suffix(path);
        name.is_some_and(|rest| rest.ends_with(' ')) && line.split_whitespace().nth(3) == Some(LISTENING)
    };
    table.lines().any(is_listening)
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
        assert!(!successor_waits(&path));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(successor_waits(&path));
        drop(listener);
        assert!(!successor_waits(&path));
    }
}
