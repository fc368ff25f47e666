//! The server: assembles listeners, services and signals into one process, and runs it until it is stopped.

mod drain;
mod files;
mod listening;
mod secure;
pub mod signals;
mod stop;
mod upgrade;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server as Pingora};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;

pub use stop::{Stop, StopHandle, Stopping, stop_handle};

use self::listening::ReadyListener;
use self::secure::Secure;
use crate::acme::Acme;
use crate::admin::Admin;
use crate::check::HealthChecker;
use crate::config::{AccessLog, Admin as Settings, Config, LogTarget, Problems, located};
use crate::discovery::{DnsSources, NameResolver, NodeFiles};
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::material::Material;
use crate::proxy::{Connections, Edge, Gateway, IdleReaper};
use crate::registration::Registration;
use crate::reload::{FileWatch, Reloader};
use crate::sampler::Sampler;
use crate::tls::nodes::tcp_keepalive;
use crate::tracer::Tracer;

/// The gateway times its own stop; Pingora would sleep this long even with nothing in flight.
const GRACE_FOREVER: u64 = 10 * 365 * 24 * 3600;

/// Options from the command line, beside the config.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    /// Take over the listening sockets of the running process.
    pub upgrade: bool,
    /// The socket over which listening sockets are handed over.
    pub upgrade_sock: PathBuf,
    /// No other gateway runs, or has run, in this process. Pingora 0.9.1 caches a thread's runtimes under a
    /// number that a later thread may get again, and then hands connections to runtimes that have ended.
    pub alone: bool,
}

/// A gateway that is ready to run.
pub struct Server {
    pub live: Arc<Live>,
    pub log: AccessLogWriter,
    pub tracer: Tracer,
    pub reloader: Arc<Reloader>,
    pingora: Pingora,
}

impl Server {
    /// Prepares everything. Any problem that the user could fix shows up here, not in [`Self::run`].
    pub fn new(config: Config, options: &Options) -> Result<Self, Problems> {
        check_ports(&config, options)?;
        let material = Material::load(&config, SystemTime::now());
        let material = material.map_err(|faults| located(&options.config, faults))?;
        let settings = config.server.clone();
        let live = Arc::new(Live::new(config));
        live.material.store(Arc::new(material));
        let log = AccessLogWriter::start(&settings.access_log, Arc::clone(&live));
        let log = log.map_err(|error| cannot_log(&settings.access_log, &error, options))?;
        let tracer = Tracer::new(Arc::clone(&live));
        let traced = tracer.set(settings.tracing.as_ref());
        traced.map_err(|error| located(&options.config, vec![cannot_trace(&error)]))?;
        let (shared, path) = (Arc::clone(&live), options.config.clone());
        let reloader = Arc::new(Reloader::new(shared, log.clone(), tracer.clone(), path));
        let opt = Opt { upgrade: options.upgrade, ..Opt::default() };
        reloader.first_keys()?;
        let mut pingora = Pingora::new_with_opt_and_conf(opt, conf(settings.threads, options));
        let handed_over = options.upgrade.then(|| upgrade::announce_wait(&options.upgrade_sock));
        pingora.bootstrap();
        drop(handed_over);
        let upstream = Arc::new(Connections::new(pingora.configuration.threads));
        let gateway = Gateway::new(Arc::clone(&live), log.clone(), tracer.clone(), Arc::clone(&upstream));
        let connections_max = files::connections_max();
        files::tell_if_cut(&settings.client, connections_max);
        let edge = Edge::new(gateway.clone(), http_proxy(&pingora.configuration, gateway), connections_max);
        let mut proxy = Service::new("gateway".into(), edge);
        for listener in &settings.listen {
            proxy.add_listener(endpoint(listener.address, settings.client.send_timeout));
        }
        let gateway = pingora.add_service(ReadyListener(proxy));
        let Settings { address, probes, .. } = settings.admin;
        let admin = address.map(|address| ("admin", address, Admin::new(Arc::clone(&live))));
        let probes = probes.map(|address| ("probes", address, Admin::probes(Arc::clone(&live))));
        for (name, address, app) in admin.into_iter().chain(probes) {
            let mut service = Service::new(name.into(), Secure::new(app, Arc::clone(&live)));
            service.threads = Some(1);
            service.add_listener(endpoint(address, settings.client.send_timeout));
            pingora.add_service(service).add_dependency(&gateway);
        }
        pingora.add_service(background_service("asking", HealthChecker::new(Arc::clone(&live))));
        pingora.add_service(background_service("idle connections", IdleReaper(upstream)));
        pingora.add_service(background_service("history", Sampler::new(Arc::clone(&live))));
        let registration = Registration::new(Arc::clone(&live));
        registration.restore();
        pingora.add_service(background_service("registration", registration));
        let acme = background_service("certificates", Acme::new(Arc::clone(&live)));
        pingora.add_service(acme).add_dependency(&gateway);
        pingora.add_service(background_service(
            "files",
            FileWatch::new(Arc::clone(&live), Arc::clone(&reloader)),
        ));
        pingora.add_service(background_service("names", NameResolver::new(Arc::clone(&live))));
        pingora.add_service(background_service("dns sources", DnsSources::new(Arc::clone(&live))));
        pingora.add_service(background_service("node files", NodeFiles::new(Arc::clone(&live))));
        Ok(Self { live, log, tracer, reloader, pingora })
    }

    /// Runs until `stopping` requests an end. Returns after a fast stop; a graceful one ends the process when
    /// the last request has ended, see `drain`.
    pub fn run(self, stopping: Stopping) {
        let phases = self.pingora.watch_execution_phase();
        drain::watch(phases, Arc::clone(&self.live), self.log.clone(), self.tracer.clone(), stopping.asked());
        self.pingora.run(RunArgs { shutdown_signal: Box::new(stopping) });
        self.log.flush();
        self.tracer.stop();
    }
}

fn conf(threads: Option<usize>, options: &Options) -> ServerConf {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ServerConf {
        threads: threads.unwrap_or(cores),
        upgrade_sock: options.upgrade_sock.display().to_string(),
        grace_period_seconds: Some(GRACE_FOREVER),
        graceful_shutdown_timeout_seconds: Some(0),
        upstream_keepalive_pool_size: 128,
        // a thread keeps its connections: there are many and each does little, so stealing costs more than it
        // balances
        work_stealing: !options.alone,
        ..ServerConf::default()
    }
}

fn endpoint(address: SocketAddr, patience: Duration) -> ListenerConfig {
    let mut options = TcpSocketOptions::default();
    options.tcp_keepalive = Some(tcp_keepalive(patience));
    // no buffers here: the proxy batches writes itself, and holds no memory for idle connections
    let buffers = L4BufferSettings::unbuffered();
    ListenerConfig::tcp(address.to_string()).tcp_socket_options(options).l4_buffer(buffers)
}

/// Checks that all ports are free. Pingora would panic in one of its threads; here the user learns which line
/// of the config to look at.
fn check_ports(config: &Config, options: &Options) -> Result<(), Problems> {
    let listen = &config.server.listen;
    let many = |index: usize| if listen.len() > 1 { format!("[{index}]") } else { String::new() };
    let listen = listen.iter().enumerate();
    let listen = listen.map(|(index, listener)| (format!("server.listen{}", many(index)), listener.address));
    let Settings { address: admin, probes, .. } = &config.server.admin;
    let admin = admin.map(|address| ("server.admin".to_owned(), address));
    let probes = probes.map(|address| ("server.admin.probes".to_owned(), address));
    let check = |(path, address): (String, SocketAddr)| {
        let error = TcpListener::bind(address).err()?;
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        if taken && options.upgrade {
            // taken by the process whose sockets are about to be handed over
            return None;
        }
        let hint = if taken { "; `ss -ltnp` shows by whom" } else { "" };
        Some((path, format!("cannot listen on {address}: {error}{hint}")))
    };
    let list: Vec<_> = listen.chain(admin).chain(probes).filter_map(check).collect();
    if list.is_empty() { Ok(()) } else { Err(located(&options.config, list)) }
}

fn cannot_log(conf: &AccessLog, error: &std::io::Error, options: &Options) -> Problems {
    let name = match &conf.target {
        LogTarget::File(path) => path.display().to_string(),
        LogTarget::Stdout => "standard output".to_owned(),
    };
    located(
        &options.config,
        vec![("server.access_log.path".to_owned(), format!("cannot open {name}: {error}"))],
    )
}

fn cannot_trace(error: &std::io::Error) -> (String, String) {
    ("server.tracing".to_owned(), format!("cannot export spans: {error}"))
}
