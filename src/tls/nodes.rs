//! Connections to the nodes: opened over TCP, by a unix socket, or within TLS, whose certificate is always verified.

mod endpoint;
mod stream;
mod trouble;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::l4::ext::{TcpKeepalive, set_tcp_keepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use endpoint::Endpoint;
pub use stream::NodeStream;
pub(crate) use trouble::refusal;

use crate::config::NodeTls;
use crate::fleet::NodeId;

/// The limits for opening a connection.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// `timeouts.connect`: TCP and TLS together.
    pub limit: Duration,
    /// `timeouts.send`.
    pub patience: Duration,
}

/// A host that vanishes without a FIN is noticed, so that no lease hangs for a day. `patience` is how long it may leave
/// data unacknowledged, or take none; Linux measures unanswered keep-alive probes against it too.
pub fn tcp_keepalive(patience: Duration) -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        count: 3,
        user_timeout: patience.max(Duration::from_secs(30)),
    }
}

/// A connection to this node at `address`. Trouble with TLS is logged when it begins or changes; [`tell`] is told when it is over.
pub async fn connect(node: &NodeId, address: SocketAddr, opening: Opening) -> io::Result<NodeStream> {
    let opened = open(&Endpoint::of(&node.access.link, address), opening).await;
    opened.inspect_err(|error| trouble::words(error).iter().for_each(|words| tell(node, Some(words))))
}

/// Tells trouble with the node's TLS, or that there is none, if that is news.
pub(crate) fn tell(node: &NodeId, trouble: Option<&str>) {
    if !node.access.trouble.is_news(trouble) {
        return;
    }
    let (pool, name) = (&node.pool, &node.name);
    match trouble {
        Some(words) => log::warn!(pool:%, node:% = name; "pool {pool}, node {name}: no TLS with it: {words}"),
        None => log::info!(pool:%, node:% = name; "pool {pool}, node {name}: TLS with it works again"),
    }
}

/// The same for the error of a connection that had been made, if it shows that the node's TLS refuses the gateway.
pub(crate) fn tell_refusal(node: &NodeId, error: &io::Error) {
    trouble::refusal_in(&error.to_string()).iter().for_each(|words| tell(node, Some(words)));
}

/// A connection to this endpoint.
pub async fn open(endpoint: &Endpoint, opening: Opening) -> io::Result<NodeStream> {
    match endpoint {
        Endpoint::Tcp(address) => timeout(opening.limit, tcp(*address, opening)).await?.map(NodeStream::Tcp),
        Endpoint::Unix(path) => {
            timeout(opening.limit, UnixStream::connect(path)).await?.map(NodeStream::Unix)
        }
        // in a box, for a handshake is large, and few connections are opened
        Endpoint::Tls(address, tls) => {
            timeout(opening.limit, Box::pin(secure(*address, tls, opening))).await?
        }
    }
}

async fn tcp(address: SocketAddr, opening: Opening) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(address).await?;
    set_tcp_keepalive(&stream, &tcp_keepalive(opening.patience)).map_err(io::Error::other)?;
    Ok(stream)
}

async fn secure(address: SocketAddr, tls: &NodeTls, opening: Opening) -> io::Result<NodeStream> {
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    let stream = connector.connect(tls.name.clone(), tcp(address, opening).await?).await?;
    let wanted = tls.client.alpn_protocols.first().map(Vec::as_slice);
    if wanted == Some(b"h2") && stream.get_ref().1.alpn_protocol() != wanted {
        return Err(trouble::no_http2());
    }
    Ok(NodeStream::Tls(Box::new(stream)))
}
