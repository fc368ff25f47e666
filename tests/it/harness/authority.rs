//! A certificate authority of the test's own, and the files of certificates that it has signed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SerialNumber};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub serial: u64,
}

impl Files {
    /// As `tls` has them.
    pub(crate) fn yaml(&self) -> String {
        format!("cert: \"{}\", key: \"{}\"", self.cert.display(), self.key.display())
    }
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for these names, in files of this name.
    pub(crate) fn sign(&self, directory: &Path, name: &str, names: &[&str], serial: u64) -> Files {
        self.sign_with(directory, name, names, serial, |_| {})
    }

    /// The same with other parameters.
    pub(crate) fn sign_with(
        &self,
        directory: &Path,
        name: &str,
        names: &[&str],
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files {
            cert: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
            serial,
        };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// Its own certificate, as a file.
    pub(crate) fn file(&self, directory: &Path) -> PathBuf {
        let file = directory.join("ca.pem");
        std::fs::write(&file, self.certificate.pem()).unwrap();
        file
    }

    /// A client that trusts it alone. `own`: the client's certificate.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Files>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        match own {
            Some(files) => {
                let chain = vec![CertificateDer::from_pem_file(&files.cert).unwrap()];
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap())
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        }
    }
}
