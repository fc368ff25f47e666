//! TLS of the simulated clients: the offer, the connection, and the terms that were agreed on.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Sessions that a client keeps: its target has one name.
const SESSIONS: usize = 1;
const PROTOCOL: &[u8] = b"http/1.1";

/// The TLS that clients speak; each remembers its own sessions.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    resumes: bool,
}

/// The only cipher suite that is offered, of TLS 1.3, so that all servers agree on the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    Aes128,
    Aes256,
}

/// The terms of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Agreed {
    /// By the names of their registries.
    pub cipher: &'static str,
    pub group: &'static str,
    /// The session began with an earlier connection.
    pub is_resumed: bool,
}

impl Tls {
    /// Trusts the certificates in this PEM file, and asks for `name`; `resumes`: connections after a client's first resume its session.
    pub fn new(ca: &str, name: &str, cipher: Cipher, resumes: bool) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate =
                certificate.map_err(|error| format!("the certificate cannot be read: {error}"))?;
            roots.add(certificate).map_err(|error| format!("the certificate cannot be trusted: {error}"))?;
        }
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|suite| suite.suite() == cipher.suite());
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder =
            builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(|error| error.to_string())?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        let name =
            ServerName::try_from(name.to_owned()).map_err(|error| format!("{name:?} is no name: {error}"))?;
        Ok(Self { config: Arc::new(config), name, resumes })
    }

    /// For one client.
    pub(super) fn client(&self) -> Client {
        let mut config = Arc::clone(&self.config);
        if self.resumes {
            Arc::make_mut(&mut config).resumption = Resumption::in_memory_sessions(SESSIONS);
        }
        Client { connector: config.into(), name: self.name.clone() }
    }
}

impl Cipher {
    fn suite(self) -> CipherSuite {
        match self {
            Self::Aes128 => CipherSuite::TLS13_AES_128_GCM_SHA256,
            Self::Aes256 => CipherSuite::TLS13_AES_256_GCM_SHA384,
        }
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cipher, group, is_resumed } = self;
        write!(f, "{cipher} {group}{}", if *is_resumed { " resumed" } else { "" })
    }
}

/// A client, with the sessions that it remembers.
pub(super) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Client {
    pub(super) async fn shake_hands(&self, stream: TcpStream) -> io::Result<(Transport, Agreed)> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let session = stream.get_ref().1;
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let group = session.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let agreed =
            Agreed { cipher: cipher.unwrap_or_default(), group: group.unwrap_or_default(), is_resumed };
        Ok((Transport::Tls(Box::new(stream)), agreed))
    }
}

/// A connection with or without TLS.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
