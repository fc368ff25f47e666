//! Open files: they limit the connections of clients, so that nodes and the admin address can still be reached.

use rlimit::Resource;

use crate::config::Client;

/// Files that are not connections of clients or to nodes: logs, sockets, the runtime's own, and connections to the admin address.
const OWN: u64 = 64;
/// Connections beyond the limit that may be open for a moment: a task of tokio does up to 128 operations in a row, and a listener accepts with
/// each, before the tasks that close them have a turn. Bursts at several listeners at once are not provided for.
const BURST: u64 = 128;

/// The most connections of clients that the system's limit of open files allows. Each may need another one, to a node.
pub(super) fn connections_max() -> usize {
    let files = Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    connections_within(files)
}

fn connections_within(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OWN + BURST) / 2).unwrap_or(usize::MAX).max(1)
}

/// Says that the limit cannot be held, and what to do. It is worth no warning where nobody has asked for more than the default.
pub(super) fn tell_if_cut(client: &Client, allowed: usize) {
    let wanted = client.max_connections;
    if wanted <= allowed {
        return;
    }
    let files = 2 * wanted as u64 + OWN + BURST;
    if wanted > Client::default().max_connections {
        log::warn!(
            "client.max_connections is {wanted}, but the limit of open files allows {allowed} (each may need another one to a \
             node): further connections are closed at once; raise the limit to {files} (`ulimit -n`, systemd's LimitNOFILE) or \
             set client.max_connections to {allowed}"
        );
    } else {
        log::info!(
            "at most {allowed} connections of clients, as the limit of open files allows; for {wanted}, raise that to {files} \
             (`ulimit -n`, systemd's LimitNOFILE)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::connections_within;

    #[test]
    fn clients_have_half_of_the_files_that_are_left() {
        for (files, connections) in [
            (0, 1),
            (192, 1),
            (193, 1),
            (196, 2),
            (384, 96),
            (1024, 416),
            (32_960, 16_384),
            (u64::MAX, (u64::MAX - 192) as usize / 2),
        ] {
            assert_eq!(connections_within(files), connections, "{files}");
        }
    }
}
