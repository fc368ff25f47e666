//! The addresses of a node whose name has several.

use std::net::SocketAddr;

use parking_lot::Mutex;

/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// All addresses that a node's name was last resolved to; none while it has not been, and for a node that is configured
/// by its IP address. They are no part of the node's identity.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Vec<SocketAddr>>);

impl Addresses {
    pub fn set(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        *self.0.lock() = addresses.into_iter().take(ADDRESSES_MAX).collect();
    }

    /// Those to be tried in turn after `first` has failed: the ones behind it in the list, then the ones before it.
    pub fn after(&self, first: SocketAddr) -> Vec<SocketAddr> {
        let list = self.0.lock();
        let at = list.iter().position(|address| *address == first);
        let (before, rest) = list.split_at(at.unwrap_or(0));
        rest.iter().chain(before).copied().filter(|address| *address != first).collect()
    }
}

impl Clone for Addresses {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().clone()))
    }
}

impl PartialEq for Addresses {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Addresses {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_come_in_turn() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses::default();
        assert_eq!(addresses.after(address(1)), []);
        addresses.set([1, 2, 3].map(address));
        assert_eq!(addresses.after(address(2)), [3, 1].map(address));
        assert_eq!(addresses.after(address(9)), [1, 2, 3].map(address));
    }
}
