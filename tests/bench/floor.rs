//! The baseline of the benchmarks: a bare proxy on Pingora that reads the request, takes a kept connection to the next
//! node and relays. It has no health, retry, limits or log, so the gateway's cost above it is that of its own work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use clap::Parser;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v1::client::{HttpSession, http_req_header_to_wire};
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{Server, ShutdownWatch};
use pingora::services::listening::Service;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType, Result};
use tokio::io::AsyncWriteExt;

/// The gateway's allocator, so that the comparison shows only the work.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Enough for all connections of a benchmark.
const KEPT_MAX: usize = 16 * 1024;
/// The gateway's own settings.
const READ_BUFFER: usize = 4096;
const WRITE_BUFFER: usize = 1460;

/// Relays requests to nodes in turn, and does nothing else
#[derive(Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, required = true)]
    node: Vec<SocketAddr>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

struct Floor {
    nodes: Vec<HttpPeer>,
    next: AtomicUsize,
    connector: TransportConnector,
}

fn main() {
    let args = Args::parse();
    let conf = ServerConf {
        threads: args.threads,
        work_stealing: false,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), conf);
    server.bootstrap();
    let nodes = args.node.iter().map(|address| HttpPeer::new(*address, false, String::new()));
    let connector = TransportConnector::new(Some(ConnectorOptions::new(KEPT_MAX)));
    let floor = Floor { nodes: nodes.collect(), next: AtomicUsize::new(0), connector };
    let mut service = Service::new("floor".into(), floor);
    let buffers = L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER);
    service.add_listener(ListenerConfig::tcp(args.listen.to_string()).l4_buffer(buffers));
    server.add_service(service);
    server.run_forever();
}

#[async_trait]
impl HttpServerApp for Floor {
    async fn process_new_http(
        self: &Arc<Self>,
        mut client: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !client.read_request().await.ok()? || self.relay(&mut client).await.is_err() {
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&client);
        let connection = client.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(connection, settings))
    }
}

impl Floor {
    async fn relay(&self, client: &mut ServerSession) -> Result<()> {
        let peer = &self.nodes[self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len()];
        let (mut stream, _) = self.connector.get_stream(peer).await?;
        // header and body in one write, as the gateway does it
        let header = http_req_header_to_wire(client.req_header());
        let mut wire = header.ok_or_else(|| Error::new(ErrorType::InvalidHTTPHeader))?;
        while let Some(piece) = client.read_request_body().await? {
            wire.extend_from_slice(&piece);
        }
        let sent = async {
            stream.write_all(&wire).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| Error::because(ErrorType::WriteError, "request", error))?;
        let mut node = HttpSession::new(stream);
        let head = node.read_response_task().await?;
        node.respect_keepalive();
        let mut tasks = vec![head];
        loop {
            // the first piece is sent together with the head
            if !tasks.last().is_some_and(HttpTask::is_end) {
                tasks.push(node.read_response_task().await?);
            }
            if client.response_duplex_vec(std::mem::take(&mut tasks)).await? {
                break;
            }
        }
        if let Some(stream) = node.reuse().await {
            self.connector.release_stream(stream, peer.reuse_hash(), None);
        }
        Ok(())
    }
}
