//! Backups: nodes that stand in while no other can be had.

use std::time::Instant;

use super::Table;
use crate::balance::Tier;

impl Table {
    /// The highest tier that may be chosen now, for a request that avoids the nodes at these places.
    pub(super) fn last_tier(&self, skip: &[usize], now: Instant) -> Tier {
        let needs_backups = self.has_backups && self.needs_backups(skip, now);
        self.usual_or_last(if needs_backups { Tier::BusyBackup } else { Tier::Busy })
    }

    /// The highest tier that may be chosen now by any request, whatever it avoids.
    pub(super) fn widest_tier(&self) -> Tier {
        self.usual_or_last(if self.has_backups { Tier::BusyBackup } else { Tier::Busy })
    }

    fn usual_or_last(&self, usual: Tier) -> Tier {
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
