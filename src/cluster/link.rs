//! The connection to Redis: one call at a time, each within its time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::wire::{Keys, answer};
use crate::config::Redis;
use crate::credits::{Answer, Call};

/// The longest time until the connection is there, and then until Redis lets the gateway in.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The longest time of a call. A Redis that takes a second for each is slow, and of use.
const CALL_WITHIN: Duration = Duration::from_millis(2500);
/// The most bytes of an answer: that for 65536 resources takes a tenth.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The way to Redis while it works.
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// The bytes that Redis may still send.
    allowance: Arc<AtomicUsize>,
    /// The gateway's end.
    pub local: IpAddr,
    /// Redis sees the same address.
    pub is_direct: bool,
}

impl Link {
    /// The error is a phrase that says what Redis does.
    pub(super) async fn open(redis: &Redis) -> Result<Self, String> {
        let address = (redis.address.host.as_str(), redis.address.port);
        let stream = within(CONNECT_WITHIN, TcpStream::connect(address)).await?;
        let stream = stream.map_err(|error| format!("Redis cannot be reached: {error}"))?;
        let local = stream.set_nodelay(true).and_then(|()| stream.local_addr());
        let local = local.map_err(|error| format!("Redis cannot be reached: {error}"))?;
        let allowance = Arc::new(AtomicUsize::new(ANSWER_BYTES_MAX));
        let connection = if redis.tls {
            let stream = within(CONNECT_WITHIN, encrypted(redis, stream)).await??;
            enter(redis, Metered { stream, allowance: Arc::clone(&allowance) }).await?
        } else {
            enter(redis, Metered { stream, allowance: Arc::clone(&allowance) }).await?
        };
        let mut link = Self { connection, allowance, local: local.ip(), is_direct: false };
        link.is_direct = link.seen().await == Some(local);
        Ok(link)
    }

    /// The gateway's address as Redis sees it.
    async fn seen(&mut self) -> Option<SocketAddr> {
        let mut info = redis::cmd("CLIENT");
        let info = info.arg("INFO").query_async::<String>(&mut self.connection);
        let info = timeout(CALL_WITHIN, info).await.ok()?.ok()?;
        info.split(' ').find_map(|field| field.strip_prefix("addr="))?.parse().ok()
    }

    pub(super) async fn call(&mut self, keys: &Keys, call: &Call) -> Result<Answer, String> {
        self.allowance.store(ANSWER_BYTES_MAX, Ordering::Relaxed);
        let invocation = keys.invocation(call);
        let value = within(CALL_WITHIN, invocation.invoke_async(&mut self.connection)).await?;
        let value: redis::Value = value.map_err(|error| refusal(&error))?;
        let (answer, _) = answer(&value).ok_or("Redis answers something else than it was asked")?;
        Ok(answer)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    timeout(limit, work).await.map_err(|_| format!("Redis does not answer within {limit:?}"))
}

async fn enter(
    redis: &Redis,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<MultiplexedConnection, String> {
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name()
        .set_db(redis.database.into());
    if let Some(user) = &redis.user {
        info = info.set_username(user);
    }
    if let Some(password) = &redis.password {
        info = info.set_password(password);
    }
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let open = MultiplexedConnection::new_with_config(&info, stream, config);
    let (connection, driver) = within(CALL_WITHIN, open).await?.map_err(|error| refusal(&error))?;
    tokio::spawn(driver);
    Ok(connection)
}

/// The certificate must be from an authority that the system trusts, and for the name in the URL.
async fn encrypted(
    redis: &Redis,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: &dyn std::fmt::Display| format!("no TLS with Redis: {error}");
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| failed(&error))?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(redis.address.host.clone()).map_err(|error| failed(&error))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| failed(&error))
}

/// What Redis said, in its own words as far as they are known to have no credential in them.
fn refusal(error: &RedisError) -> String {
    match error.code() {
        Some(code) => {
            let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
            let detail = match code.as_str() {
                "OOM" => ": its memory is full",
                "NOAUTH" | "WRONGPASS" => ": it wants another user or password",
                "LOADING" => ": it is still loading",
                "READONLY" => ": it is a replica",
                "MISCONF" => ": it cannot write to its disk",
                "NOPERM" => ": the user may not do this",
                _ => "",
            };
            format!("Redis refuses with {code}{detail}")
        }
        None if error.is_io_error() => "Redis has closed the connection".to_owned(),
        None => format!("Redis answers something else than it was asked ({:?})", error.kind()),
    }
}

/// A stream that ends when its peer has sent more than it may.
struct Metered<S> {
    stream: S,
    allowance: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let ready = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        let left = self.allowance.load(Ordering::Relaxed);
        if read > left {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        self.allowance.store(left - read, Ordering::Relaxed);
        ready
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
