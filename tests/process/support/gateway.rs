//! A gateway process with its config file, for tests that start, reload, upgrade and stop it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::client::{Client, get};
use super::process::{BINARY, Process};
use super::{LIMIT, LOOK, ports};

/// The contents of a config file.
#[derive(Clone)]
pub(crate) struct Conf {
    pub listen: SocketAddr,
    /// The value of `listen`, if it is more than the address.
    pub listening: Option<String>,
    pub admin: SocketAddr,
    /// More lines of `server`.
    pub server: String,
    /// More lines of the pool.
    pub pool: String,
    /// More lines at the end.
    pub more: String,
    pub nodes: Vec<String>,
}

impl Conf {
    pub(crate) fn new(nodes: &[SocketAddr]) -> Self {
        Self {
            listen: ports::free(),
            listening: None,
            admin: ports::free(),
            server: String::new(),
            pool: String::new(),
            more: String::new(),
            nodes: nodes.iter().map(|node| format!("{{ address: {node} }}")).collect(),
        }
    }

    pub(crate) fn server(mut self, line: &str) -> Self {
        let _ = writeln!(self.server, "  {line}");
        self
    }

    pub(crate) fn pool(mut self, line: &str) -> Self {
        let _ = writeln!(self.pool, "    {line}");
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { listen, listening, admin, server, pool, more, nodes } = self;
        let listen = listening.clone().unwrap_or_else(|| listen.to_string());
        let list: String = nodes.iter().fold(String::new(), |all, node| all + "      - " + node + "\n");
        let nodes = if nodes.is_empty() { list } else { "    nodes:\n".to_owned() + &list };
        format!(
            "server:\n  listen: {listen}\n  admin: {admin}\n  threads: 2\n{server}\
             pools:\n  sim:\n{pool}{nodes}{more}"
        )
    }
}

pub(crate) struct Gateway {
    pub process: Process,
    pub conf: Conf,
    directory: tempfile::TempDir,
}

impl Gateway {
    /// Starts a gateway and waits until it serves.
    pub(crate) async fn start(conf: Conf) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let gateway = Self::spawn(conf, directory, &[]);
        gateway.until_status("it serves", |_| true).await;
        gateway
    }

    /// The same with a limit of open files, which the gateway cannot raise.
    pub(crate) async fn start_with_files(conf: Conf, files: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("gateway.yaml"), conf.text()).expect("a file");
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &files.to_string(), BINARY]);
        let process = Process::spawn(limited.args(Self::args(directory.path(), &[])));
        let gateway = Self { process, conf, directory };
        gateway.until_status("it serves", |_| true).await;
        gateway
    }

    /// Starts a gateway with more arguments and this environment, and waits until it serves.
    pub(crate) async fn start_with(conf: Conf, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut gateway = Self::start_silent(conf, more, environment);
        gateway.process.read_stderr();
        gateway.until_status("it serves", |_| true).await;
        gateway
    }

    /// Starts a gateway with `--watch` and this file, whose contents are `conf`, and waits until it serves.
    pub(crate) async fn start_watching(conf: Conf, file: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let process = Process::spawn(Command::new(BINARY).args(["run", "--watch", "-c"]).arg(file));
        let gateway = Self { process, conf, directory };
        gateway.until_status("it serves", |_| true).await;
        gateway
    }

    /// The same with nobody who reads its standard error.
    pub(crate) async fn start_unread(conf: Conf, environment: &[(&str, &str)]) -> Self {
        let gateway = Self::start_silent(conf, &[], environment);
        gateway.until_status("it serves", |_| true).await;
        gateway
    }

    /// Starts this copy of the binary with this environment, and waits until it serves.
    pub(crate) async fn start_binary(binary: &Path, conf: Conf, environment: &[(&str, &str)]) -> Self {
        let mut gateway = Self::silent(binary, conf, &[], environment);
        gateway.process.read_stderr();
        gateway.until_status("it serves", |_| true).await;
        gateway
    }

    fn start_silent(conf: Conf, more: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::silent(Path::new(BINARY), conf, more, environment)
    }

    fn silent(binary: &Path, conf: Conf, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("gateway.yaml"), conf.text()).expect("a file");
        let mut command = Command::new(binary);
        let command = command.args(Self::args(directory.path(), more)).envs(environment.iter().copied());
        let process = Process::spawn_unread(command);
        Self { process, conf, directory }
    }

    /// Starts a process with this config without waiting for it to serve.
    pub(crate) fn spawn(conf: Conf, directory: tempfile::TempDir, more: &[&str]) -> Self {
        fs::write(directory.path().join("gateway.yaml"), conf.text()).expect("a file");
        let process = Self::process(directory.path(), more);
        Self { process, conf, directory }
    }

    fn process(directory: &Path, more: &[&str]) -> Process {
        Process::spawn(Command::new(BINARY).args(Self::args(directory, more)))
    }

    fn args(directory: &Path, more: &[&str]) -> Vec<OsString> {
        let file = directory.join("gateway.yaml");
        let sock = directory.join("upgrade.sock");
        let args =
            ["run".as_ref(), "-c".as_ref(), file.as_os_str(), "--upgrade-sock".as_ref(), sock.as_os_str()];
        args.into_iter().chain(more.iter().map(OsStr::new)).map(OsStr::to_owned).collect()
    }

    /// Starts a process that waits for this one's sockets.
    pub(crate) fn successor(&self) -> Process {
        Self::process(self.directory.path(), &["--upgrade"])
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.conf.listen
    }

    /// Writes this text to the config file.
    pub(crate) fn write(&self, text: &str) {
        // atomically, as editors and config management do
        let new = self.file("new.yaml");
        fs::write(&new, text).expect("a file");
        fs::rename(new, self.file("gateway.yaml")).expect("the same directory");
    }

    /// Reloads this config and waits until it is in use.
    pub(crate) async fn reload(&self, conf: &Conf) -> Value {
        let before = self.status().await.expect("the admin address answers");
        self.write(&conf.text());
        self.process.signal(Signal::HUP);
        let generation = before["config_generation"].as_u64().expect("a number") + 1;
        self.until_status("the next generation", |status| status["config_generation"] == generation).await
    }

    /// Sends a `GET` to the admin address.
    pub(crate) async fn admin(&self, path: &str) -> std::io::Result<String> {
        Client::new(self.conf.admin).ask(&get(path)).await.map(|answer| answer.body)
    }

    /// A client of the admin address.
    pub(crate) fn admin_client(&self) -> Client {
        Client::new(self.conf.admin)
    }

    pub(crate) async fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.admin("/api/status").await.ok()?).ok()
    }

    /// Waits for a condition on `/api/status`.
    pub(crate) async fn until_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                if let Some(status) = self.status().await.filter(|status| condition(status)) {
                    return status;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(LIMIT, look).await {
            Ok(status) => status,
            Err(_) => {
                let status = self.status().await.unwrap_or_default();
                panic!("not within {LIMIT:?}: {what}\n{status:#}\n{}", self.process.stderr())
            }
        }
    }

    /// Waits for this text on standard error.
    pub(crate) async fn until_logged(&self, text: &str) {
        super::until(text, || self.process.stderr().contains(text)).await;
    }

    /// Stops the gateway. Returns its exit code and the time that this took.
    pub(crate) fn stop(&mut self, signal: Signal) -> (Option<i32>, Duration) {
        let began = std::time::Instant::now();
        self.process.signal(signal);
        let status = self.process.wait();
        (status.code(), began.elapsed())
    }
}

/// Requests in flight on all nodes together.
pub(crate) fn in_flight(status: &Value) -> u64 {
    let pools = status["pools"].as_array().into_iter().flatten();
    let nodes = pools.flat_map(|pool| pool["nodes"].as_array().into_iter().flatten());
    nodes.filter_map(|node| node["in_flight"].as_u64()).sum()
}
