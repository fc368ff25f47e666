//! A client's connection under TLS: the handshake, and the stream that comes of it.

use std::borrow::Cow;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::challenges::Challenges;

/// The first byte of a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// The reason why there is no connection.
pub enum NoTls {
    /// The client has left without a word.
    Gone,
    /// Its first byte is none of a handshake: perhaps a request without TLS.
    Plain(Stream),
    /// It was an ACME server, which has seen what it came for.
    Proven,
    Failed(io::Error),
}

/// Waits for the handshake to end.
pub async fn accept(
    config: &Arc<ServerConfig>,
    challenges: &Challenges,
    mut stream: Stream,
) -> Result<Stream, NoTls> {
    let mut first = [HANDSHAKE];
    stream.try_peek(&mut first).await.map_err(|_| NoTls::Gone)?;
    if first != [HANDSHAKE] {
        return Err(NoTls::Plain(stream));
    }
    let accepted = if challenges.has_some() {
        accept_or_prove(config, challenges, stream).await?
    } else {
        TlsAcceptor::from(Arc::clone(config)).accept(stream).await.map_err(NoTls::Failed)?
    };
    let session = accepted.get_ref().1;
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let version = session.protocol_version().and_then(|version| version.as_str());
    let shown = |name: Option<&'static str>| Cow::Borrowed(name.unwrap_or_default());
    let digest = Arc::new(SslDigest::new(shown(cipher), shown(version), None, None, Vec::new()));
    Ok(Box::new(Tls { stream: accepted, digest, is_cut: AtomicBool::new(false) }))
}

/// The same while an ACME server may come, whose connection ends with its handshake (RFC 8737 section 3).
async fn accept_or_prove(
    config: &Arc<ServerConfig>,
    challenges: &Challenges,
    stream: Stream,
) -> Result<TlsStream<Stream>, NoTls> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(NoTls::Failed)?;
    let Some(proof) = challenges.to_handshake(&hello.client_hello()) else {
        return hello.into_stream(Arc::clone(config)).await.map_err(NoTls::Failed);
    };
    let mut shown = hello.into_stream(proof).await.map_err(NoTls::Failed)?;
    // it may be gone already
    let _ = shown.shutdown().await;
    Err(NoTls::Proven)
}

/// The connection after its handshake. It says that it ends (`close_notify`), unless it is cut.
#[derive(Debug)]
struct Tls {
    stream: TlsStream<Stream>,
    digest: Arc<SslDigest>,
    is_cut: AtomicBool,
}

/// The end of this connection is none of what was sent: without a `close_notify` its client can tell (RFC 8446 section 6.1).
pub fn cut(stream: &Stream) {
    if let Some(tls) = (**stream).as_any().downcast_ref::<Tls>() {
        tls.is_cut.store(true, Ordering::Relaxed);
    }
}

impl Tls {
    fn inner(&self) -> &Stream {
        self.stream.get_ref().0
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if !*self.is_cut.get_mut() {
            // as far as it is taken at once
            let _ = pin!(self.stream.shutdown()).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

#[async_trait]
impl Shutdown for Tls {
    async fn shutdown(&mut self) {
        // it may be gone already
        let _ = self.stream.shutdown().await;
    }
}

impl UniqueID for Tls {
    fn id(&self) -> UniqueIDType {
        self.inner().id()
    }
}

impl Ssl for Tls {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.stream.get_ref().1.alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            b"http/1.1" | b"http/1.0" => Some(ALPN::H1),
            _ => None,
        }
    }
}

impl GetTimingDigest for Tls {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner().get_timing_digest()
    }
}

impl GetProxyDigest for Tls {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner().get_proxy_digest()
    }
}

impl GetSocketDigest for Tls {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner().get_socket_digest()
    }
}

/// Not supported, and not needed: the protocol is known from the handshake.
impl Peek for Tls {}
