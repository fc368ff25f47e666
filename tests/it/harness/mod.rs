//! Helpers shared by the tests: a gateway, nodes, clients, and waiting for conditions.

mod authority;
mod client;
mod front;
mod gateway;
mod log;
mod nodes;
mod pki;
mod ports;
mod raw;
mod script;
mod transport;

use std::time::{Duration, Instant};

pub(crate) use authority::{Authority, Files};
pub(crate) use client::{Answer, Client, Outgoing, ask, chat, get, post};
pub(crate) use front::Front;
pub(crate) use gateway::{Gateway, pool, pool_of};
pub(crate) use log::logged;
pub(crate) use nodes::{fault, node, nodes, nodes_like, steps};
pub(crate) use pki::Pki;
pub(crate) use ports::free_port;
pub(crate) use raw::{Ended, Head, Raw};
pub(crate) use script::Script;
pub(crate) use transport::{Connection, Transport};

/// Limit of each wait, generous for a busy machine; only failing tests reach it.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

/// Runs a test on a runtime of its own, and fails it if it hangs.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(3 * LIMIT, test);
}

/// The same with a limit of its own.
pub(crate) fn run_within(limit: Duration, test: impl Future<Output = ()>) {
    log::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(limit, test).await.unwrap_or_else(|_| panic!("not done within {limit:?}"));
    });
    runtime.shutdown_background();
}

/// Waits until the condition holds; returns the time that this took.
pub(crate) async fn eventually(limit: Duration, what: &str, condition: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
    began.elapsed()
}

/// Asks until the answer is a good one, and returns that; an error is the state so far.
pub(crate) async fn eventually_async<T, E: std::fmt::Debug>(
    limit: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(state) => assert!(began.elapsed() < limit, "not within {limit:?}: {what}: {state:?}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for a future, and fails the test if it takes longer.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}
