//! `evenkeel run`: loads the config and runs the gateway until a signal ends it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::check::{ConfigArg, EXIT_BAD_CONFIG, refused};
use super::logger::{self, LogStyle};
use crate::config::Config;
use crate::reload::Watched;
use crate::server::{self, Options, Server, signals, stop_handle};

const AFTER_HELP: &str = "\
Signals:
  SIGHUP           Reload the config and reopen the access log; a bad config changes nothing
  SIGTERM          Say no to /readyz, take requests for stop_delay more, then stop as after SIGINT
  SIGINT           Stop accepting and finish requests in flight within drain_timeout; a second signal exits at once
  SIGUSR2          Start the program again, as it is on disk now, hand it the listening sockets, then finish open requests
  SIGQUIT          Hand the listening sockets over to a process started with --upgrade, then finish open requests

Examples:
  evenkeel run -c evenkeel.yaml
  evenkeel run -c /etc/evenkeel/evenkeel.yaml --watch
  evenkeel run -c evenkeel.yaml --upgrade & kill -QUIT \"$OLD_PID\"

Where systemd has started it (NOTIFY_SOCKET), it says when it is ready, reloads, stops and lives (watchdog), and how the fleet is.
Sockets that systemd passes (LISTEN_FDS) are used for the addresses of the config that they listen on.

The gateway's own log goes to standard error; RUST_LOG=evenkeel=debug makes it more detailed, --log-format json or
EVENKEEL_LOG_FORMAT=json makes each line a JSON object: time, level, target, message, and rid, pool and node where it is
about one. It is never waited for: lines that nobody reads are dropped, and counted in lost_own_log_lines of /api/status.
Exit codes: 0 stopped with all requests finished, 1 requests were cut, 2 unknown argument, 64 unusable config";

/// Run the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Take over the listening sockets of the running process (then send it SIGQUIT)
    #[arg(long)]
    upgrade: bool,
    /// Start the gateway in a process that is nobody's child, and end
    #[arg(long, hide = true)]
    detach: bool,
    /// Hand sockets over through this path [default: upgrade.sock in $RUNTIME_DIRECTORY, else one in /tmp per port]
    #[arg(long, value_name = "PATH")]
    upgrade_sock: Option<PathBuf>,
    /// Reload the config also when its file changes, or a link on the way to it, as in a Kubernetes volume
    #[arg(long)]
    watch: bool,
    /// Write the gateway's own log as text or json [default: EVENKEEL_LOG_FORMAT, else text]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    log_format: Option<LogStyle>,
}

/// Runs until a signal ends it; exits with 64 if the config is unusable.
pub fn run(args: &RunArgs, registered: signals::Registered) -> ExitCode {
    if args.detach {
        return detached();
    }
    match logger::choose(args.log_format) {
        Ok(style) => logger::set_style(style),
        Err(message) => {
            eprintln!("evenkeel: {message}");
            return ExitCode::from(EXIT_BAD_CONFIG);
        }
    }
    let path = &args.config.config;
    let watch = args.watch.then(|| Watched::before_reading(path.clone()));
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    let upgrade_sock = args.upgrade_sock.clone().unwrap_or_else(|| default_sock(&config));
    let options = Options { config: path.clone(), watch, upgrade: args.upgrade, upgrade_sock, alone: true };
    let server = match Server::new(config, &options) {
        Ok(server) => server,
        Err(problems) => return refused(&problems),
    };
    // only the first call sets it, and this is the first
    let _ = server.live.lost_own_log_lines.set(logger::in_background());
    say_hello(&server, path, files);
    let (handle, stopping) = stop_handle();
    let Options { upgrade_sock, .. } = options;
    registered.handle(signals::Handled {
        live: server.live.clone(),
        reloader: server.reloader.clone(),
        log: server.log.clone(),
        notifier: server.notifier.clone(),
        stop: handle,
        upgrade_sock,
    });
    server.run(stopping);
    ExitCode::SUCCESS
}

fn detached() -> ExitCode {
    match server::detach() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say_hello(server: &Server, path: &Path, files: u64) {
    let fleet = server.live.fleet();
    let settings = &fleet.config.server;
    let listen: Vec<_> = settings.listen.iter().map(|listener| listener.address.to_string()).collect();
    let scheme = if settings.admin.tls.is_some() { "https" } else { "http" };
    let admin =
        settings.admin.address.map_or_else(|| "off".to_owned(), |address| format!("{scheme}://{address}/"));
    let probes =
        settings.admin.probes.map_or_else(String::new, |address| format!(", probes http://{address}/"));
    log::info!(
        "evenkeel {} with {}: listens on {}, admin {admin}{probes}, at most {files} open files",
        env!("CARGO_PKG_VERSION"),
        path.display(),
        listen.join(", ")
    );
    fleet.config.notices.iter().for_each(|notice| log::warn!("{notice}"));
    for member in &fleet.pools {
        let nodes = member.conf.nodes.iter().map(|node| node.name.clone());
        let sources = member.conf.sources.iter().map(|source| source.origin().to_string());
        let nodes: Vec<_> = nodes.chain(sources).collect();
        log::info!("pool {}: {}", member.pool.name(), nodes.join(", "));
    }
}

fn default_sock(config: &Config) -> PathBuf {
    let port = config.server.listen.first().map_or(0, |listener| listener.address.port());
    match std::env::var_os("RUNTIME_DIRECTORY") {
        Some(directory) => Path::new(&directory).join("upgrade.sock"),
        None => std::env::temp_dir().join(format!("evenkeel-{port}.upgrade.sock")),
    }
}
