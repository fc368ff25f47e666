//! A scripted node: the test itself accepts connections and writes every byte.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{LIMIT, Raw, within};

/// A listening socket on which the test accepts, reads and writes.
pub(crate) struct Script {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Script {
    pub(crate) async fn listen() -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Script { listener, address }
    }

    /// The next connection of the gateway.
    pub(crate) async fn accept(&self) -> Raw {
        let (stream, _) = within(LIMIT, "the gateway connects", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw::on(stream)
    }

    /// The next connection, with its first request header.
    pub(crate) async fn request(&self) -> (Raw, String) {
        loop {
            let (mut node, head) = self.first().await;
            if !head.starts_with("GET /v1/models ") || head.contains("X-Request-Id:") {
                return (node, head);
            }
            // the gateway itself asks
            node.write("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await;
        }
    }

    /// The same, be it the gateway's own question for the list of models.
    pub(crate) async fn first(&self) -> (Raw, String) {
        let mut node = self.accept().await;
        let head = node.read_to("\r\n\r\n").await;
        (node, head)
    }

    /// This node as the only one of the pool `p`.
    pub(crate) fn pool(&self, more: &str) -> String {
        super::pool_of("p", &format!("{{ name: s, address: \"{}\" }}", self.address), more)
    }
}
