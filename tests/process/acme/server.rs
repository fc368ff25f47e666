//! An ACME server: Debian's pebble, which forgets everything when it ends.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;

use super::client::Client;
use super::names::Names;
use crate::support::process::Process;
use crate::support::{ports, until};

/// Without pebble the tests say so and pass; a build server has it.
pub(super) fn is_here() -> bool {
    let is_here = Command::new("pebble").arg("-h").output().is_ok() || std::env::var_os("CI").is_some();
    if !is_here {
        eprintln!("no pebble here: .ci/bootstrap pebble brings it");
    }
    is_here
}

/// A place for pebble to run at, one process after another.
pub(super) struct Place {
    listen: SocketAddr,
    management: SocketAddr,
    names: Names,
    directory: TempDir,
}

impl Place {
    /// `http`, `tls`: the ports at which challenges are looked for.
    pub(super) async fn new(http: u16, tls: u16) -> Self {
        let (listen, management) = (ports::free(), ports::free());
        let place = Self {
            listen,
            management,
            names: Names::start().await,
            directory: TempDir::new().expect("a folder"),
        };
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("a certificate");
        let (issuer, key) = (Issuer::new(params, ca_key), KeyPair::generate().expect("a key"));
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        let own = own.signed_by(&key, &issuer).expect("a certificate");
        let config = json!({ "pebble": {
            "listenAddress": listen.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": place.file("own.pem"),
            "privateKey": place.file("own.key"),
            "httpPort": http,
            "tlsPort": tls,
        }});
        for (name, content) in [
            ("ca.pem", ca.pem()),
            ("own.pem", own.pem()),
            ("own.key", key.serialize_pem()),
            ("config.json", config.to_string()),
        ] {
            fs::write(place.file(name), content).expect("a file");
        }
        place
    }

    /// The folder of this server below a state folder.
    pub(super) fn folder(&self) -> String {
        self.listen.to_string().replace(':', "-") + "-dir"
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Keys of `tls.auto` for this server.
    pub(super) fn keys(&self) -> String {
        let (ca, listen) = (self.file("ca.pem"), self.listen);
        format!("directory: \"https://{listen}/dir\", ca: {ca:?}, terms_agreed: true")
    }

    /// Starts the server and waits until it serves.
    pub(super) async fn start(&self) -> Process {
        let mut command = Command::new("pebble");
        command.arg("-config").arg(self.file("config.json"));
        command.args(["-dnsserver", &self.names.address.to_string()]);
        command
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0");
        let process = Process::spawn(&mut command);
        until("pebble serves", || std::net::TcpStream::connect(self.management).is_ok()).await;
        until("pebble serves", || std::net::TcpStream::connect(self.listen).is_ok()).await;
        process
    }

    /// The authority of the certificates that the process which runs now gives.
    pub(super) async fn root(&self) -> CertificateDer<'static> {
        let own = CertificateDer::from_pem_file(self.file("ca.pem")).expect("a certificate");
        let client = Client::new(self.management, &[own]);
        let answer = client.ask("127.0.0.1", "GET /roots/0 HTTP/1.0\r\n\r\n").await.expect("an answer");
        let (_, pem) = answer.text.split_once("\r\n\r\n").expect("a body");
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    }
}
