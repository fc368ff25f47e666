//! Certificates for the tests: an authority of their own, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

/// An authority, with a folder for its files.
pub(crate) struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    cert: String,
    key: String,
}

impl Pki {
    /// Its certificate is in `ca.pem`.
    pub(crate) fn new() -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let dir = TempDir::new().unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("authority of {}", dir.path().display()));
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Pki { ca, dir };
        pki.write("ca.pem", &pki.ca.pem());
        pki
    }

    /// A certificate for these names and addresses.
    pub(crate) fn pair(&self, names: &[&str]) -> Pair {
        self.pair_until(names, 2100)
    }

    /// The same until the beginning of a year.
    pub(crate) fn pair_until(&self, names: &[&str], year: i32) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.ca).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `tls` of a node that trusts this authority, with further keys.
    pub(crate) fn trusted(&self, more: &str) -> String {
        format!("tls: {{ ca: {}{more} }}", show(&self.path("ca.pem")))
    }

    /// The keys for a client certificate, which is written for that.
    pub(crate) fn identity(&self) -> String {
        let Pair { cert, key } = self.pair(&["gateway"]);
        self.write("client.pem", &cert);
        self.write("client.key", &key);
        format!(", cert: {}, key: {}", show(&self.path("client.pem")), show(&self.path("client.key")))
    }

    /// A server that asks its clients for a certificate of this authority.
    pub(crate) fn asking(&self, pair: &Pair) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let (chain, key) = pair.der();
        builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap()
    }
}

impl Pair {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        (vec![cert], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }

    /// A server with this certificate.
    pub(crate) fn server(&self) -> ServerConfig {
        let (chain, key) = self.der();
        builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

fn show(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
