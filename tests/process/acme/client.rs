//! A client over TLS, with a connection for each request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::LIMIT;

#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    tls: TlsConnector,
}

/// A whole answer, and the certificate of the connection that it came on.
#[derive(Debug)]
pub(super) struct Answer {
    pub text: String,
    pub certificate: CertificateDer<'static>,
}

impl Client {
    /// It trusts these authorities, and keeps no session from one connection to the next.
    pub(super) fn new(address: SocketAddr, roots: &[CertificateDer<'static>]) -> Self {
        let mut trusted = RootCertStore::empty();
        roots.iter().for_each(|root| trusted.add(root.clone()).expect("an authority"));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let mut config = builder.with_root_certificates(trusted).with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Self { address, tls: TlsConnector::from(Arc::new(config)) }
    }

    pub(super) async fn connect(&self, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        self.tls.connect(name, stream).await
    }

    /// Sends a request, and reads until the connection ends.
    pub(super) async fn ask(&self, name: &str, request: &str) -> io::Result<Answer> {
        let asked = async {
            let mut stream = self.connect(name).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = chain.first().cloned().ok_or(io::ErrorKind::InvalidData)?.into_owned();
            Ok(Answer { text: String::from_utf8_lossy(&bytes).into_owned(), certificate })
        };
        timeout(LIMIT, asked).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
