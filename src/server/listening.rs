//! A listening service that reports itself ready only once its sockets are bound.
//!
//! Pingora calls a service ready before it has bound its sockets. `/readyz` used to answer "ok" some
//! milliseconds before clients could connect, and a balancer that believed it got refusals. So the admin
//! address waits for the other services.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::listening::Service;
use pingora::services::{Service as Starts, ServiceReadyNotifier, ServiceWithDependents};
use tokio::runtime::Handle;

use super::notify::Notifier;
use super::passed::Passed;

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A runtime is drawn at most so often for each that there is: enough to meet every one of 1024.
const DRAWS: usize = 32;

/// A service that is ready once it listens on all its addresses.
pub(super) struct ReadyListener<A> {
    pub service: Service<A>,
    /// The process is ready once it listens on these addresses, too.
    pub others: Vec<String>,
    /// Sockets that are open already, for any service.
    pub passed: Passed,
    /// The number of runtimes that serve.
    pub threads: usize,
    pub notifier: Notifier,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServiceWithDependents for ReadyListener<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        if let Some(fds) = &fds {
            self.passed.enter(fds);
        }
        let addresses = Starts::listen_addresses(&self.service).unwrap_or_default();
        let own = bound(fds.clone(), addresses);
        let all = bound(fds.clone(), std::mem::take(&mut self.others));
        let (notifier, threads) = (self.notifier.clone(), self.threads);
        tokio::spawn(async move {
            own.await;
            ready.notify_ready();
            if notifier.has_manager() {
                all.await;
                notifier.ready(runtimes(threads));
            }
        });
        Starts::start_service(&mut self.service, fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        Starts::name(&self.service)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Starts::listen_addresses(&self.service)
    }

    fn on_startup_delay(&self, _waited: Duration) {}
}

/// Resolves when all addresses are in the table of sockets, where Pingora enters them once it listens.
async fn bound(fds: Option<ListenFds>, addresses: Vec<String>) {
    let Some(fds) = fds else { return };
    while !addresses.iter().all(|address| fds.lock().get(address).is_some()) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The runtimes of the service that calls: Pingora shows one of them at a time, by chance.
fn runtimes(count: usize) -> Vec<Handle> {
    let mut runtimes = HashMap::new();
    for _ in 0..count * DRAWS {
        let runtime = pingora_runtime::current_handle();
        runtimes.insert(runtime.id(), runtime);
        if runtimes.len() == count {
            break;
        }
    }
    runtimes.into_values().collect()
}
