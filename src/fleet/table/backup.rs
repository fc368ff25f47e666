//! Backups: nodes that stand in while no other can be had.

use std::time::Instant;

use super::Table;
use crate::balance::Tier;

impl Table {
    /// The highest tier that may be chosen now, for a request that avoids the nodes at these places.
    pub(super) fn last_tier(&self, skip: &[usize], now: Instant) -> Tier {
        if self.has_backups && self.needs_backups(skip, now) {
            return self.widest_tier();
        }
        if self.restless.is_empty() || self.serving() > 0 { Tier::Busy } else { Tier::BusyLastResort }
    }

    /// The highest tier that may be chosen now by any request, whatever it avoids.
    pub(super) fn widest_tier(&self) -> Tier {
        let usual = if self.has_backups { Tier::BusyBackup } else { Tier::Busy };
        if self.restless.is_empty() || self.serving() > 0 { usual } else { Tier::BusyLastResort }
    }

    /// A node may be chosen that is no last resort, as soon as it has room.
    pub(crate) fn is_up(&self, now: Instant) -> bool {
        self.members().any(|(_, node)| node.is_usable(Tier::BusyBackup, now))
    }

    fn needs_backups(&self, skip: &[usize], now: Instant) -> bool {
        let mut primaries = self.nodes.iter().enumerate().filter_map(|(place, node)| {
            let node = node.as_ref().filter(|node| !node.is_backup)?;
            (!skip.contains(&place)).then_some(node)
        });
        !primaries.any(|node| node.keeps_backups_out(&self.policy, now))
    }
}
