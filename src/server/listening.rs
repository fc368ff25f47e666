//! A listening service that reports itself ready only once its sockets are bound.
//!
//! Pingora calls a service ready before it has bound its sockets. `/readyz` used to answer "ok" some
//! milliseconds before clients could connect, and a balancer that believed it got refusals. So the admin
//! address waits for the other services.

use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::listening::Service;
use pingora::services::{Service as Starts, ServiceReadyNotifier, ServiceWithDependents};

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A service that is ready once it listens on all its addresses.
pub(super) struct ReadyListener<A>(pub Service<A>);

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServiceWithDependents for ReadyListener<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        let addresses = Starts::listen_addresses(&self.0).unwrap_or_default();
        let bound = bound(fds.clone(), addresses);
        tokio::spawn(async move {
            bound.await;
            ready.notify_ready();
        });
        Starts::start_service(&mut self.0, fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        Starts::name(&self.0)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Starts::listen_addresses(&self.0)
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
