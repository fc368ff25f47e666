//! TLS to a gateway's admin address, for the commands.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, StreamOwned,
};

/// The authorities that are believed, and the name that the gateway's certificate must have.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A connection of either kind.
pub(super) trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

impl Trust {
    /// `roots`: a file of certificates; without one those of the system are believed.
    pub(super) fn new(host: &str, roots: Option<&Path>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        match roots {
            Some(file) => add(&mut store, file).map_err(|why| format!("{}: {why}", file.display()))?,
            None => {
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let config = Arc::new(builder.with_root_certificates(store).with_no_client_auth());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { config, name })
    }

    /// A gateway of this machine: it must have the very certificate that its config names, whose names are hardly the address by which
    /// it is asked.
    pub(super) fn own(host: &str, certificate: &Path) -> Result<Self, String> {
        let wrong = |error: pem::Error| format!("{}: {error}", certificate.display());
        let certificate = CertificateDer::from_pem_file(certificate).map_err(wrong)?;
        Self::pinned(host, certificate, None)
    }

    /// A gateway of this machine that gets its certificate by itself: the one in its folder if that can be read, for it may be of an
    /// authority that the system does not know; or else, as after a renewal, one of that name.
    pub(super) fn renewed(name: &str, folders: &Path) -> Result<Self, String> {
        let Ok(certificate) = CertificateDer::from_pem_file(folders) else { return Self::new(name, None) };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(ring::default_provider());
        let system = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
        Self::pinned(name, certificate, system.ok())
    }

    fn pinned(
        host: &str,
        certificate: CertificateDer<'static>,
        otherwise: Option<Arc<WebPkiServerVerifier>>,
    ) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let verifier = Arc::new(Pinned { certificate, otherwise, algorithms });
        let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// The name that is asked for, and verified unless the certificate itself is known.
    #[cfg(test)]
    pub(super) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// The handshake goes with the first write.
    pub(super) fn over(&self, stream: TcpStream) -> io::Result<Box<dyn Connection>> {
        let client = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        Ok(Box::new(StreamOwned::new(client.map_err(io::Error::other)?, stream)))
    }
}

/// Believes one certificate, and those that the other verifier believes.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    otherwise: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        if let Some(otherwise) = &self.otherwise {
            return otherwise.verify_server_cert(shown, chain, name, ocsp, now);
        }
        Err(Error::General(
            "the gateway's certificate is not the one that the config names; was it reloaded?".to_owned(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn add(store: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    for certificate in certificates {
        store.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if store.is_empty() { Err("no certificate in PEM form".to_owned()) } else { Ok(()) }
}
