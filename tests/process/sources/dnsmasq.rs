//! A name server: Debian's dnsmasq, with a config of its own on a free port of the loopback interface.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::{ports, until};

/// Debian installs it where only root looks.
fn program() -> Option<&'static str> {
    ["dnsmasq", "/usr/sbin/dnsmasq"]
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_ok())
}

/// Without dnsmasq the tests say so and pass; a build server has it.
pub(super) fn is_here() -> bool {
    let is_here = program().is_some() || std::env::var_os("CI").is_some();
    if !is_here {
        eprintln!("no dnsmasq here: .ci/bootstrap dnsmasq brings it");
    }
    is_here
}

pub(super) struct NameServer {
    pub address: SocketAddr,
    directory: TempDir,
    process: Option<Process>,
}

impl NameServer {
    /// One that knows no name.
    pub(super) async fn start() -> Self {
        let directory = TempDir::new().expect("a folder");
        let mut server = Self { address: ports::free(), directory, process: None };
        server.write(&[]);
        server.again(&[]).await;
        server
    }

    /// Starts it again, with these options, once it has been killed.
    pub(super) async fn again(&mut self, options: &[String]) {
        let mut command = Command::new(program().expect("it is here"));
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        command.args(["--listen-address=127.0.0.1", "--local=/test/", "--local-ttl=1", "--pid-file="]);
        command.arg(format!("--port={}", self.address.port()));
        command.arg(format!("--addn-hosts={}", self.hosts().display()));
        if rustix::process::getuid().is_root() {
            // by itself it would become a user who may not read the file
            command.arg("--user=root");
        }
        self.process = Some(Process::spawn(command.args(options)));
        let address = self.address;
        until("the name server listens", || TcpStream::connect(address).is_ok()).await;
    }

    fn hosts(&self) -> PathBuf {
        self.directory.path().join("hosts")
    }

    fn write(&self, records: &[(Ipv4Addr, &str)]) {
        let lines: String = records.iter().map(|(ip, name)| format!("{ip} {name}\n")).collect();
        let new = self.directory.path().join("new");
        fs::write(&new, lines).expect("a file");
        fs::rename(new, self.hosts()).expect("the same folder");
    }

    /// From now on the names are those, each with its addresses.
    pub(super) fn set(&self, name: &str, numbers: &[u8]) {
        let records: Vec<_> =
            numbers.iter().map(|number| (Ipv4Addr::new(127, 0, 0, *number), name)).collect();
        self.write(&records);
        self.process.as_ref().expect("it runs").signal(Signal::HUP);
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }
}
