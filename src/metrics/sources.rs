//! The numbers of the sources of nodes.

use std::fmt;

use super::sheet::Sheet;
use crate::fleet::PoolSnapshot;
use crate::sources::SourceSnapshot;

pub(super) fn write(sheet: &mut Sheet<'_>, pools: &[PoolSnapshot]) -> fmt::Result {
    let sources: Vec<_> = pools
        .iter()
        .flat_map(|pool| pool.sources.iter().map(|source| (&*pool.name, source.origin.to_string(), source)))
        .collect();
    let each = |value: fn(&SourceSnapshot) -> u64| {
        sources
            .iter()
            .map(move |(pool, origin, source)| ([("pool", *pool), ("source", origin)], value(source)))
    };
    let help = "1 if the source of nodes has answered when it was asked last.";
    let is_up = |source: &SourceSnapshot| u64::from(source.heard.is_some() && source.trouble.is_none());
    sheet.gauges("source_up", help, each(is_up))?;
    let help = "Nodes that the source has named last.";
    sheet.gauges("source_nodes", help, each(|source| source.nodes as u64))?;
    let help = "Nodes of the source that are not in use, because another has their address or name, or they are not valid.";
    sheet.gauges("source_nodes_left_out", help, each(|source| source.left_out.len() as u64))?;
    let help = "Times that the source could not be asked, or that what it said could not be used.";
    sheet.counters("source_failures", help, each(|source| source.failures))
}
