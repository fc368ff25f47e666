//! Helpers shared by the process tests: processes, ports, a client, load.

pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod load;
pub(crate) mod nodes;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod redis;

use std::future::Future;
use std::time::{Duration, Instant};

/// Limit of each wait, generous for a busy machine; only failing tests reach it.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// Polling interval of conditions.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// Waits until the condition holds; `what` names it in the error.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_within(LIMIT, what, condition)
}

#[track_caller]
pub(crate) fn until_within(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let end = Instant::now() + limit;
    async move {
        while !condition() {
            assert!(Instant::now() < end, "{caller}: not within {limit:?}: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}
