//! Running a gateway in a thread of the test process.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel::config::Config;
use evenkeel::fleet::{NodeSnapshot, NodeState};
use evenkeel::live::Live;
use evenkeel::outcome::Outcome;
use evenkeel::reload::Reloader;
use evenkeel::server::{Options, Server, Stop, StopHandle, stop_handle};
use evenkeel::sim::Node;
use evenkeel::status::Snapshot;
use tempfile::TempDir;

use super::transport::{self, Transport};
use super::{LIMIT, eventually, free_port};

/// Number of ports to try before the start of a gateway fails.
const TRIES: usize = 10;

/// A running gateway, stopped at once when dropped.
pub(crate) struct Gateway {
    pub address: SocketAddr,
    pub live: Arc<Live>,
    reloader: Arc<Reloader>,
    log: evenkeel::journal::AccessLogWriter,
    server: String,
    dir: TempDir,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
}

/// The value of `listen`, of its address and its directory.
type Listen<'a> = dyn Fn(SocketAddr, &Path) -> String + Sync + 'a;

/// The pool `name` with these nodes; `more` contains further keys, as in a YAML flow mapping.
pub(crate) fn pool(name: &str, nodes: &[Node], more: &str) -> String {
    let entry = |node: &Node| format!("{{ name: {}, address: \"{}\" }}", node.name(), node.addr());
    pool_of(name, &nodes.iter().map(entry).collect::<Vec<_>>().join(", "), more)
}

/// A pool with the nodes given as config text.
pub(crate) fn pool_of(name: &str, nodes: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("  {name}: {{ nodes: [{nodes}]{comma}{more} }}\n")
}

impl Gateway {
    /// Starts a gateway with one pool, called `p`.
    pub(crate) async fn start(nodes: &[Node], more: &str) -> Gateway {
        Gateway::with("", &pool("p", nodes, more)).await
    }

    /// The same without TLS in any run, for clients that know none.
    pub(crate) async fn plain(nodes: &[Node], more: &str) -> Gateway {
        Gateway::over(Transport::Plain, "", &pool("p", nodes, more)).await
    }

    /// Starts a gateway with further keys of `server`, and any pools.
    pub(crate) async fn with(server: &str, pools: &str) -> Gateway {
        Gateway::over(Transport::of_run(), server, pools).await
    }

    /// The same with a second address, which has this TLS.
    pub(crate) async fn secured(tls: &str, server: &str, pools: &str) -> Gateway {
        let second = |address, _: &Path| {
            format!("[\"{address}\", {{ address: \"127.0.0.1:{}\", tls: {{ {tls} }} }}]", free_port())
        };
        Gateway::listening(&second, server, pools).await
    }

    async fn over(transport: Transport, server: &str, pools: &str) -> Gateway {
        Gateway::listening(&|address, path| transport::listen(address, transport, path), server, pools).await
    }

    async fn listening(listen: &Listen<'_>, server: &str, pools: &str) -> Gateway {
        for _ in 0..TRIES {
            if let Some(gateway) = Gateway::launch(listen, server, pools) {
                let admin = gateway.live.fleet().config.server.admin.address;
                let addresses = || admin.into_iter().chain([gateway.address]);
                let accepts = || addresses().all(|address| TcpStream::connect(address).is_ok());
                eventually(LIMIT, "the gateway listens", accepts).await;
                eventually(LIMIT, "its first connection is gone", || gateway.live.connections.value() == 0)
                    .await;
                return gateway;
            }
        }
        panic!("no port is free");
    }

    fn launch(listen: &Listen<'_>, server: &str, pools: &str) -> Option<Gateway> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("evenkeel.yaml");
        let server = format!("listen: {}, {server}", listen(address, dir.path()));
        let server = server.replace("path: access", &format!("path: {}/access", dir.path().display()));
        let server = server.replace("admin: free", &format!("admin: \"127.0.0.1:{}\"", free_port()));
        let text = text(&server, pools);
        std::fs::write(&path, &text).unwrap();
        let config = Config::load(&path).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let options = Options {
            config: path,
            upgrade: false,
            upgrade_sock: dir.path().join("upgrade.sock"),
            watch: None,
            alone: false,
        };
        let instance = Server::new(config, &options).ok()?;
        let (live, reloader, log) =
            (Arc::clone(&instance.live), Arc::clone(&instance.reloader), instance.log.clone());
        let (stop, stopping) = stop_handle();
        let thread = std::thread::spawn(move || instance.run(stopping));
        Some(Gateway { address, live, reloader, log, server, dir, stop, thread: Some(thread) })
    }

    /// Reloads with other pools.
    pub(crate) fn reload(&self, pools: &str) {
        std::fs::write(self.path("evenkeel.yaml"), text(&self.server, pools)).unwrap();
        self.reloader.reload().unwrap_or_else(|problems| panic!("{problems}"));
    }

    /// The same with another text in place of a part of its server's keys.
    pub(crate) fn reload_with(&self, (from, to): (&str, &str), pools: &str) {
        assert!(self.server.contains(from), "{from} is not in {}", self.server);
        let server = self.server.replace(from, to);
        std::fs::write(self.path("evenkeel.yaml"), text(&server, pools)).unwrap();
        self.reloader.reload().unwrap_or_else(|problems| panic!("{problems}"));
    }

    /// The same, where the file may be refused.
    pub(crate) fn try_reload_with(&self, (from, to): (&str, &str), pools: &str) -> Result<u64, String> {
        let server = self.server.replace(from, to);
        std::fs::write(self.path("evenkeel.yaml"), text(&server, pools)).unwrap();
        self.reloader.reload().map_err(|problems| problems.to_string())
    }

    /// Reads the file of keys again.
    pub(crate) fn reload_keys(&self) {
        self.reloader.reload_keys();
    }

    /// A file in the gateway's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The admin address of a gateway whose server has `admin: free`.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.live.fleet().config.server.admin.address.expect("an admin address")
    }

    /// The second address of a gateway that has one.
    pub(crate) fn secure(&self) -> SocketAddr {
        self.live.fleet().config.server.listen[1].address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn status(&self) -> Snapshot {
        self.live.snapshot(Instant::now())
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        evenkeel::metrics::text(self.status(), self.live.ended(), evenkeel::metrics::Format::Prometheus)
    }

    /// The lines of an access log in the gateway's own directory.
    pub(crate) fn log_lines(&self, name: &str) -> Vec<String> {
        self.log.flush();
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The node of this name, in any pool.
    pub(crate) fn node(&self, name: &str) -> NodeSnapshot {
        let pools = self.status().pools;
        let found = pools.into_iter().flat_map(|pool| pool.nodes).find(|node| *node.id.name == *name);
        found.unwrap_or_else(|| panic!("no node {name}"))
    }

    pub(crate) fn state(&self, name: &str) -> NodeState {
        self.node(name).state
    }

    pub(crate) fn attempts(&self, name: &str, outcome: Outcome) -> u64 {
        self.node(name).attempts_with(outcome)
    }

    /// Requests in flight on each node.
    pub(crate) fn in_flight(&self) -> Vec<u32> {
        let pools = self.status().pools;
        pools.iter().flat_map(|pool| &pool.nodes).map(|node| node.in_flight).collect()
    }

    /// Number of requests answered with this status.
    pub(crate) fn answered(&self, code: u16) -> u64 {
        let pools = self.status().pools;
        pools.iter().filter_map(|pool| pool.counters.requests.get(&code)).sum()
    }

    /// Waits until there is no request, lease or kept body any more.
    pub(crate) async fn at_rest(&self) {
        let what = "all requests have ended, and gave everything back";
        eventually(LIMIT, what, || {
            let status = self.status();
            status.requests == 0 && status.kept_bytes == 0 && self.in_flight().iter().all(|count| *count == 0)
        })
        .await;
    }
}

/// A quiet config unless the test says otherwise.
fn text(server: &str, pools: &str) -> String {
    let log = if server.contains("access_log") { "" } else { "access_log: { format: off }, " };
    let admin = if server.contains("admin:") { "" } else { "admin: off, " };
    format!("server: {{ {admin}threads: 2, {log}{server} }}\npools:\n{pools}")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.stop(Stop::Now);
        let Some(thread) = self.thread.take() else { return };
        let limit = Instant::now() + Duration::from_secs(10);
        while !thread.is_finished() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
