//! The numbers of the gateway's cluster, and of what it holds of the nodes in it.

use std::fmt;

use super::sheet::{NONE, Sheet};
use crate::status::{PeerState, Snapshot, Standing};

/// Nothing, as long as the gateway belongs to no cluster.
pub(super) fn write(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    let cluster = || s.cluster.as_ref();
    let states = cluster().into_iter().flat_map(|cluster| {
        Standing::NAMES.map(|name| ([("state", name)], u64::from(name == cluster.standing.as_str())))
    });
    sheet.gauges("cluster_state", "1 for the gateway's present place in its cluster.", states)?;
    let members = cluster().into_iter().flat_map(|cluster| {
        let count = |state| cluster.members.iter().filter(|peer| peer.state == state).count() as u64;
        PeerState::ALL.map(|state| ([("state", state.as_str())], count(state)))
    });
    let help = "Gateways of the cluster, this one among them: alive are those that do not reach Redis, silent those that nobody reaches.";
    sheet.gauges("cluster_members", help, members)?;
    let settled = cluster().map(|cluster| (NONE, u64::from(cluster.is_settled)));
    sheet.gauges("cluster_settled", "1 if credits may move.", settled)?;
    let age = cluster().and_then(|cluster| cluster.last_exchange);
    let age = age.map(|at| (NONE, s.at.saturating_duration_since(at).as_secs_f64()));
    let help = "Time since the last exchange of credits that was answered well.";
    sheet.gauges("cluster_last_exchange_age_seconds", help, age)?;
    let good = cluster().map(|cluster| (NONE, cluster.exchanges));
    sheet.counters("cluster_exchanges", "Exchanges of credits that were answered well.", good)?;
    let bad = cluster().map(|cluster| (NONE, cluster.failures));
    sheet.counters("cluster_failed_exchanges", "Exchanges of credits that were not.", bad)?;
    let lost = cluster().map(|cluster| (NONE, cluster.lost_ledgers));
    sheet.counters("cluster_lost_ledgers", "Times that the ledger of credits was found lost.", lost)
}
