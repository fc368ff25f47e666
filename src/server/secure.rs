//! The admin application behind TLS, if it has that, and with a limit of its connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use crate::live::{Gauge, Live};
use crate::tls::{NoTls, accept};

/// The most connections at a time. Sixteen pages may be open, each with a few.
const CONNECTIONS_MAX: u64 = 512;
/// The time that a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// An application whose connections may begin with a handshake.
pub(super) struct Secure<A> {
    app: Arc<A>,
    live: Arc<Live>,
    open: Gauge,
}

impl<A> Secure<A> {
    pub(super) fn new(app: A, live: Arc<Live>) -> Self {
        Self { app: Arc::new(app), live, open: Gauge::default() }
    }

    /// The connection after its handshake, if its address has TLS.
    async fn open(&self, stream: Stream) -> Option<Stream> {
        let config = self.live.material.load().tls.of(&stream);
        let Some(config) = config else { return Some(stream) };
        match timeout(HANDSHAKE_WITHIN, accept(&config, &self.live.challenges, stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(NoTls::Failed(error))) => {
                self.live.failed_handshakes.fetch_add(1, Ordering::Relaxed);
                log::debug!("admin: a TLS handshake failed: {error}");
                None
            }
            Ok(Err(NoTls::Gone | NoTls::Proven | NoTls::Plain(_))) | Err(_) => None,
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Secure<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _open = self.open.try_add(1, CONNECTIONS_MAX)?;
        let stream = self.open(stream).await?;
        self.app.process_new(stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}
