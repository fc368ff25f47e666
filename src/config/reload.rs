//! Settings that a reload cannot change in a running process.

use std::fmt::Write;

use super::model::{Config, Listener};

impl Config {
    /// The differences between the current config and the next that need a restart or an upgrade of the
    /// process, worded for people; everything else takes effect on a reload.
    pub fn diff_restart(&self, next: &Self) -> Vec<String> {
        let (old, new) = (&self.server, &next.server);
        let admin = |address: Option<_>| {
            address.map_or("off".to_owned(), |address: std::net::SocketAddr| address.to_string())
        };
        let threads =
            |threads: Option<usize>| threads.map_or("auto".to_owned(), |threads| threads.to_string());
        let asked = |config: &Self| {
            let address = config.cluster.as_ref().and_then(|cluster| cluster.listen);
            address.map_or("that of its connection".to_owned(), |address| address.to_string())
        };
        let kept = [
            ("cluster.listen", asked(self), asked(next)),
            ("server.listen", addresses(&old.listen), addresses(&new.listen)),
            ("server.admin", admin(old.admin.address), admin(new.admin.address)),
            ("server.admin.probes", admin(old.admin.probes), admin(new.admin.probes)),
            ("server.threads", threads(old.threads), threads(new.threads)),
        ];
        let differing = kept.into_iter().filter(|(_, old, new)| old != new);
        differing
            .map(|(key, old, new)| {
                format!("{key} stays {old} until the process is replaced; the file says {new}")
            })
            .collect()
    }
}

/// Sorted, because their order has no meaning.
fn addresses(listeners: &[Listener]) -> String {
    let mut addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    addresses.sort_unstable();
    let mut text = String::new();
    for (index, address) in addresses.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        _ = write!(text, "{comma}{address}");
    }
    text
}
