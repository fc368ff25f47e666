//! The transport between clients and gateways: plain TCP, or what `EVENKEEL_TEST_OVER` says.
//!
//! `tls`: every gateway speaks TLS, and every client of one. `h2`: those that send whole requests speak HTTP/2 besides; raw clients,
//! whose bytes are HTTP/1, do not.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The transport of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
    H2,
}

impl Transport {
    pub(crate) fn of_run() -> Self {
        static CHOSEN: LazyLock<Transport> = LazyLock::new(|| match std::env::var("EVENKEEL_TEST_OVER") {
            Err(_) => Transport::Plain,
            Ok(word) => match word.as_str() {
                "" | "plain" => Transport::Plain,
                "tls" => Transport::Tls,
                "h2" => Transport::H2,
                other => panic!("EVENKEEL_TEST_OVER={other}: plain, tls or h2"),
            },
        });
        *CHOSEN
    }

    /// `Connection` in an answer after which the connection is closed; HTTP/2 has no such field.
    pub(crate) fn closing(self) -> Option<&'static str> {
        if self == Transport::H2 { None } else { Some("close") }
    }

    /// The protocol as nodes are told it.
    pub(crate) fn scheme(self) -> &'static str {
        if self == Transport::Plain { "http" } else { "https" }
    }
}

/// The certificate of all gateways of a run, and what clients need to trust it.
struct Identity {
    cert: String,
    key: String,
    client: [Arc<ClientConfig>; 2],
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = [&b"http/1.1"[..], b"h2"].map(|protocol| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    });
    Identity { cert: made.cert.pem(), key: made.signing_key.serialize_pem(), client }
});

/// The addresses of gateways that speak TLS.
static SECURE: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);

/// The value of `listen` for a gateway with files in this directory.
pub(crate) fn listen(address: SocketAddr, transport: Transport, directory: &Path) -> String {
    if transport == Transport::Plain {
        return format!("\"{address}\"");
    }
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.join(name));
    std::fs::write(&cert, &IDENTITY.cert).unwrap();
    std::fs::write(&key, &IDENTITY.key).unwrap();
    SECURE.lock().unwrap().insert(address);
    let (cert, key) = (cert.display(), key.display());
    format!("{{ address: \"{address}\", tls: {{ cert: \"{cert}\", key: \"{key}\" }} }}")
}

/// A connection, secure if there is a gateway that is.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr, is_h2: bool) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Connection::on(stream, is_h2).await
    }

    /// The same on a socket of the test's own.
    pub(crate) async fn on(stream: TcpStream, is_h2: bool) -> io::Result<Connection> {
        let address = stream.peer_addr()?;
        if !SECURE.lock().unwrap().contains(&address) {
            return Ok(Connection::Plain(stream));
        }
        let config = Arc::clone(&IDENTITY.client[usize::from(is_h2)]);
        let name = ServerName::from(address.ip());
        TlsConnector::from(config).connect(name, stream).await.map(Box::new).map(Connection::Tls)
    }

    /// Reads what there is, without waiting.
    pub(crate) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Connection::Plain(stream) = self {
            return stream.try_read(bytes);
        }
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Connection::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Connection::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Connection::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Connection::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
