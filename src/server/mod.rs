//! The assembly: listeners, services, signals, the end.

mod drain;
pub mod signals;
mod stop;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::listeners::{ListenerConfig, TcpSocketOptions};
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server as Pingora};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;

pub use stop::{Stop, StopHandle, Stopping, stop_handle};

use crate::admin::Admin;
use crate::check::Asking;
use crate::config::{Config, Problem, Problems};
use crate::discovery::Following;
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::proxy::{Edge, Gateway, tcp_keepalive};
use crate::reload::Reloader;

/// Idle connections to all nodes together that are kept.
const KEPT_CONNECTIONS_MAX: usize = 16 * 1024;
/// The stop is ours to time; Pingora would sleep this long even with nothing in flight.
const GRACE_FOREVER: u64 = 10 * 365 * 24 * 3600;

/// What the command line adds to the config.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    /// Take the listening sockets over from the process that runs now.
    pub upgrade: bool,
    /// Where the sockets are handed over.
    pub upgrade_sock: PathBuf,
}

/// A gateway that is ready to run.
pub struct Server {
    pub live: Arc<Live>,
    pub log: AccessLogWriter,
    pub reloader: Arc<Reloader>,
    pingora: Pingora,
}

/// Why a gateway cannot start.
#[derive(Debug)]
pub enum StartError {
    /// What the config asks for cannot be had.
    Config(Problems),
    Log(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Log(error) => write!(f, "server.access_log: cannot open the access log: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Everything but running: after this nothing can fail that the user could mend.
    pub fn new(config: Config, options: &Options) -> Result<Self, StartError> {
        if !options.upgrade {
            ports_are_free(&config, &options.config).map_err(StartError::Config)?;
        }
        let settings = config.server.clone();
        let live = Arc::new(Live::new(config));
        let log = AccessLogWriter::start(&settings.access_log, Arc::clone(&live)).map_err(StartError::Log)?;
        let reloader = Arc::new(Reloader::new(Arc::clone(&live), log.clone(), options.config.clone()));
        let opt = Opt { upgrade: options.upgrade, ..Opt::default() };
        let mut pingora = Pingora::new_with_opt_and_conf(opt, conf(settings.threads, &options.upgrade_sock));
        pingora.bootstrap();
        let connector = TransportConnector::new(Some(ConnectorOptions::new(KEPT_CONNECTIONS_MAX)));
        let gateway = Gateway::new(Arc::clone(&live), log.clone(), connector);
        let edge = Edge::new(Arc::clone(&live), http_proxy(&pingora.configuration, gateway));
        let mut proxy = Service::new("gateway".into(), edge);
        for listener in &settings.listen {
            proxy.add_listener(endpoint(listener.address, settings.client.send_timeout));
        }
        pingora.add_service(proxy);
        if let Some(address) = settings.admin {
            let mut admin = Service::new("admin".into(), Admin::new(Arc::clone(&live)));
            admin.threads = Some(1);
            admin.add_listener(endpoint(address, settings.client.send_timeout));
            pingora.add_service(admin);
        }
        pingora.add_service(background_service("asking", Asking::new(Arc::clone(&live))));
        pingora.add_service(background_service("names", Following::new(Arc::clone(&live))));
        Ok(Self { live, log, reloader, pingora })
    }

    /// Runs until `stopping` says otherwise. After a fast stop it returns; a graceful one ends the process when the
    /// last request has ended, see `drain`.
    pub fn run(self, stopping: Stopping) {
        let phases = self.pingora.watch_execution_phase();
        drain::watch(phases, Arc::clone(&self.live), self.log.clone(), stopping.asked());
        self.pingora.run(RunArgs { shutdown_signal: Box::new(stopping) });
        self.log.flush();
    }
}

fn conf(threads: Option<usize>, upgrade_sock: &Path) -> ServerConf {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ServerConf {
        threads: threads.unwrap_or(cores),
        upgrade_sock: upgrade_sock.display().to_string(),
        grace_period_seconds: Some(GRACE_FOREVER),
        graceful_shutdown_timeout_seconds: Some(0),
        upstream_keepalive_pool_size: 128,
        ..ServerConf::default()
    }
}

fn endpoint(address: SocketAddr, patience: Duration) -> ListenerConfig {
    let mut options = TcpSocketOptions::default();
    options.tcp_keepalive = Some(tcp_keepalive(patience));
    ListenerConfig::tcp(address.to_string()).tcp_socket_options(options)
}

/// Pingora would panic in one of its threads; here the user is told which line of which file to look at.
fn ports_are_free(config: &Config, path: &Path) -> Result<(), Problems> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let listen = config.server.listen.iter().map(|listener| ("server.listen", listener.address));
    let admin = config.server.admin.iter().map(|address| ("server.admin", *address));
    let check = |(key, address): (&str, SocketAddr)| {
        let error = TcpListener::bind(address).err()?;
        let shown = address.to_string();
        let line = text.lines().position(|line| line.contains(&shown)).map(|index| index + 1);
        let message = format!("cannot listen on {shown}: {error}; `ss -ltnp` shows who does");
        Some(Problem { path: key.into(), line, message })
    };
    let list: Vec<_> = listen.chain(admin).filter_map(check).collect();
    if list.is_empty() {
        return Ok(());
    }
    Err(Problems { source: path.display().to_string(), list, omitted: 0 })
}
