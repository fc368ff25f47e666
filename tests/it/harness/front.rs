//! TLS or a unix socket in front of a node that listens on TCP: each byte goes on, and so does each end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// It runs until it is dropped.
pub(crate) struct Front {
    /// The address as a config has it.
    pub address: String,
    opened: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn tls(node: SocketAddr, server: ServerConfig) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let (opened, acceptor) = (Arc::<AtomicUsize>::default(), TlsAcceptor::from(Arc::new(server)));
        let count = Arc::clone(&opened);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let raw = SockRef::from(&stream).try_clone().unwrap();
                    let stream = match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => stream,
                        Err((_, mut refused)) => {
                            // a close with bytes unread would be a reset, and the alert be lost
                            let _ = copy(&mut refused, &mut sink()).await;
                            return;
                        }
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    if !pass(stream, node).await {
                        raw.set_linger(Some(Duration::ZERO)).unwrap();
                    }
                });
            }
        });
        Front { address, opened, task }
    }

    pub(crate) async fn unix(node: SocketAddr, path: &Path) -> Front {
        let listener = UnixListener::bind(path).unwrap();
        let opened = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&opened);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass(stream, node));
            }
        });
        Front { address: format!("unix:{}", path.display()), opened, task }
    }

    /// Connections that were opened well.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on until both sides have ended; `true`: well.
async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, node: SocketAddr) -> bool {
    let Ok(mut node) = TcpStream::connect(node).await else { return false };
    node.set_nodelay(true).unwrap();
    copy_bidirectional(&mut stream, &mut node).await.is_ok()
}
