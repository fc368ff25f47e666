//! HTTPS to an ACME server: a connection for each request, with limits on time and size.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::chain;

/// The longest time of one request.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// The largest answer; chains have some kilobytes.
const BODY_MAX: usize = 1 << 20;
const PORT: u16 = 443;

/// The client of one attempt.
#[derive(Clone)]
pub(super) struct Https {
    tls: TlsConnector,
    asked: Arc<Mutex<Option<Duration>>>,
}

impl Https {
    /// `ca`: the authorities of the server's certificate; `None`: those of the system.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(ca) => {
                for root in chain(ca)? {
                    roots.add(root).map_err(|error| format!("{}: {error}", ca.display()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(
                "there are no certificate authorities on this system; install ca-certificates".to_owned()
            );
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), asked: Arc::default() })
    }

    /// The pause that the last refusal asked for.
    pub(super) fn asked(&self) -> Option<Duration> {
        *self.asked.lock()
    }

    async fn send(self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, String> {
        let (host, port) = address(request.uri())?;
        let server = format!("{host}:{port}");
        let bare = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(bare.clone()).map_err(|error| format!("{server}: {error}"))?;
        let stream = TcpStream::connect((bare.as_str(), port)).await;
        let stream =
            stream.map_err(|error| format!("the ACME server {server} cannot be reached: {error}"))?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("no TLS with the ACME server {server}: {error}"))?;
        let broken = |error: hyper::Error| format!("the ACME server {server} broke off: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let is_post = *request.method() == Method::POST;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse::<Uri>().map_err(|error| error.to_string())?;
        let to = if port == PORT { &host } else { &server };
        let to = HeaderValue::from_str(to).map_err(|error| error.to_string())?;
        request.headers_mut().insert(HOST, to);
        *request.uri_mut() = path;
        let answer = async {
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, BODY_MAX).collect().await;
            let body = body.map_err(|error| format!("the ACME server {server} broke off: {error}"))?;
            Ok::<_, String>((head, body.to_bytes()))
        };
        let mut answer = pin!(answer);
        // the connection is polled until the answer is complete; it may end with it
        let (head, body) = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            _ = connection => answer.await?,
        };
        if head.status.is_client_error() || head.status.is_server_error() {
            *self.asked.lock() = retry_after(&head.headers);
            if !is_post || !names_problem(&head.headers) {
                return Err(format!("the ACME server {server} answers {}", head.status));
            }
        }
        Ok(http::Response::from_parts(head, Full::new(body)).into())
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sent = self.clone().send(request);
        Box::pin(async move {
            let slow = |_| format!("the ACME server did not answer within {} s", REQUEST_MAX.as_secs());
            let answer = timeout(REQUEST_MAX, sent).await.map_err(slow).and_then(|answer| answer);
            answer.map_err(|message| Error::Other(message.into()))
        })
    }
}

fn address(uri: &Uri) -> Result<(String, u16), String> {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => Ok((host.to_owned(), uri.port_u16().unwrap_or(PORT))),
        _ => Err("the ACME server names a URL that is not https://".to_owned()),
    }
}

/// RFC 7807, as RFC 8555 section 6.7 wants errors.
fn names_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("application/problem+json")
}

/// In seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let at = || httpdate::parse_http_date(value).ok()?.duration_since(std::time::SystemTime::now()).ok();
    value.parse().ok().map(Duration::from_secs).or_else(at)
}

#[cfg(test)]
mod tests;
