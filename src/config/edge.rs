//! The configuration of the edge: TLS towards clients, and those who may use the admin address.

use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::acme::Auto;

/// The address of the page, the status API, the metrics and orders.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Admin {
    /// Loopback, unless it has TLS and tokens. `None`: switched off.
    pub address: Option<SocketAddr>,
    /// A further address of the probes and the metrics, which may be reached from outside; default none.
    pub probes: Option<SocketAddr>,
    pub tls: Option<Listening>,
    /// Those who may use it; at most 64. Default none: anybody on this machine.
    pub tokens: Vec<AdminToken>,
}

/// One who may use the admin address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    pub role: Role,
    /// The file of the token, or of its hash.
    pub file: PathBuf,
    /// The path of `file` in the config file.
    pub place: String,
}

/// The part of the admin address that a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nodes register themselves, and leave.
    Register,
    /// All that can be looked at.
    Read,
    /// Orders too, and the registration of nodes.
    Operate,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Chosen by the name that a client asks for (SNI), the first where none fits; at most 257.
    pub certificates: Vec<CertificateFiles>,
    /// One that the gateway gets by itself, after the others; default none.
    pub auto: Option<Auto>,
    /// The oldest version that is spoken; default 1.2.
    pub min_version: TlsVersion,
    /// `None`: clients need no certificate, the default.
    pub client_auth: Option<ClientAuth>,
}

impl Listening {
    /// All files and folders that it names.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let pairs = self.certificates.iter_mut().flat_map(|pair| [&mut pair.cert, &mut pair.key]);
        let auto = self.auto.iter_mut().flat_map(|auto| iter::once(&mut auto.state).chain(&mut auto.ca));
        pairs.chain(auto).chain(self.client_auth.iter_mut().map(|auth| &mut auth.ca))
    }
}

/// A certificate and its key, each with its path in the config file, for problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain as PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key as PEM.
    pub key: PathBuf,
    pub place: String,
    pub key_place: String,
}

/// `tls.min_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// The authorities whose certificates clients have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// As PEM.
    pub ca: PathBuf,
    /// The path of `ca` in the config file.
    pub place: String,
    /// A client without one is refused.
    pub is_required: bool,
}

/// `tls.verify_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VerifyClient {
    Off,
    Optional,
    On,
}
