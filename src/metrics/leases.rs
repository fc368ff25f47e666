//! The numbers of nodes that register themselves.

use std::fmt;

use super::sheet::Sheet;
use crate::status::{PoolLeases, Snapshot};

/// Nothing, as long as no pool takes such nodes.
pub(super) fn write(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    let held = s.leases.iter().map(|one| ([("pool", &*one.pool)], one.held as u64));
    sheet.gauges("leases", "Nodes that have registered themselves and hold a lease.", held)?;
    let events = s.leases.iter().flat_map(|PoolLeases { pool, counts, .. }| {
        let of = [
            ("deregistered", counts.deregistered),
            ("expired", counts.expired),
            ("refused", counts.refused),
            ("registered", counts.registered),
            ("renewed", counts.renewed),
        ];
        of.map(|(event, count)| ([("event", event), ("pool", &**pool)], count))
    });
    sheet.counters("lease_events", "Leases given, refused, renewed and ended.", events)
}
