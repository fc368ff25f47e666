//! A collector: takes OTLP over HTTP, and keeps what it gets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;

use crate::harness::{LIMIT, eventually};

/// A message that it got.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub path: String,
    pub kind: String,
    pub key: Option<String>,
    pub service: String,
    spans: Vec<Span>,
}

pub(super) struct Collector {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Collector {
    pub(super) async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let take = service_fn(move |request| take(request, Arc::clone(&kept)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), take));
            }
        });
        Collector { address, posts }
    }

    /// The config of a server that exports to it.
    pub(super) fn keys(&self, more: &str) -> String {
        format!("tracing: {{ otlp: \"http://{}\", {more} }}", self.address)
    }

    pub(super) fn posts(&self) -> Vec<Post> {
        self.posts.lock().clone()
    }

    /// All spans, once there are so many.
    pub(super) async fn spans(&self, least: usize) -> Vec<Span> {
        let spans = || -> Vec<_> { self.posts().into_iter().flat_map(|post| post.spans).collect() };
        eventually(LIMIT, "the spans come", || spans().len() >= least).await;
        spans()
    }
}

async fn take(
    request: Request<Incoming>,
    posts: Arc<Mutex<Vec<Post>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let resource =
        message.resource_spans.first().and_then(|spans| spans.resource.clone()).unwrap_or_default();
    posts.lock().push(Post {
        path: head.uri.path().to_owned(),
        kind: field("content-type").unwrap_or_default(),
        key: field("x-key"),
        service: found(&resource.attributes, "service.name").unwrap_or_default(),
        spans: message
            .resource_spans
            .into_iter()
            .flat_map(|spans| spans.scope_spans)
            .flat_map(|spans| spans.spans)
            .collect(),
    });
    Ok(Response::new(Full::default()))
}

pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of an attribute, as text.
pub(super) fn attribute(span: &Span, key: &str) -> Option<String> {
    found(&span.attributes, key)
}

fn found(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

pub(super) fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}
