//! A certificate chain with its key, checked as far as that can be done without a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::renewal::Renewal;
use crate::config::{CertificateFiles, read_file};

/// The largest file: enough for all authorities of a system.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate as views show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names that it is for, in lower case.
    pub names: Vec<String>,
    pub file: PathBuf,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// `None`: somebody else sees to the files.
    pub renewal: Option<Renewal>,
}

impl Certificate {
    /// Its end in Unix time, in seconds.
    pub fn expiry(&self) -> u64 {
        self.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// The time for which it is valid still.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

/// A certificate that can be served.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub shown: Certificate,
    pub key: Arc<CertifiedKey>,
}

/// A path in the config, and what is wrong with the file that it names.
pub(super) type Fault = (String, String);

/// Reads both files; they must belong together, and be valid at `now`.
pub(super) fn load(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Loaded, Fault> {
    let at_cert = |message| (files.place.clone(), message);
    let at_key = |message| (files.key_place.clone(), message);
    let chain = chain(&files.cert).map_err(at_cert)?;
    let key = read_pem(&files.key)
        .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem))
        .map_err(|error| at_key(unreadable(&files.key, &error, "a private key")))?;
    let shown = describe(&chain[0], &files.cert).map_err(at_cert)?;
    check_validity(&shown, now).map_err(at_cert)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => at_key(format!(
            "{} is not the private key of the certificate in {}",
            files.key.display(),
            files.cert.display()
        )),
        error => at_key(format!("{}: the private key cannot be used: {error}", files.key.display())),
    })?;
    Ok(Loaded { shown, key: Arc::new(key) })
}

fn read_pem(file: &Path) -> Result<Vec<u8>, pem::Error> {
    read_file(file, FILE_BYTES_MAX).map_err(pem::Error::Io)
}

/// The certificates in a PEM file; at least one. No message has any of its content.
pub fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &pem::Error| unreadable(file, error, "a certificate");
    let pem = read_pem(file).map_err(|error| wrong(&error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| wrong(&error))?;
    if chain.is_empty() {
        return Err(wrong(&pem::Error::NoItemsFound));
    }
    Ok(chain)
}

/// The reason why a PEM file is of no use, without any of its content.
fn unreadable(file: &Path, error: &pem::Error, wanted: &str) -> String {
    let file = file.display();
    match error {
        pem::Error::Io(error) => format!("cannot read {file}: {error}"),
        pem::Error::NoItemsFound => format!("{file} has no {} in PEM form", wanted.trim_start_matches("a ")),
        _ => format!("{file} is not valid PEM"),
    }
}

/// The names of the first certificate in a PEM file; none if it cannot be read.
pub fn names_of(file: &Path) -> Vec<String> {
    let described = chain(file).and_then(|chain| describe(&chain[0], file));
    described.map(|shown| shown.names).unwrap_or_default()
}

/// The parts of a certificate that people look at.
pub(super) fn describe(der: &CertificateDer<'_>, file: &Path) -> Result<Certificate, String> {
    let shown = file.display();
    let (_, parsed) = X509Certificate::from_der(der)
        .map_err(|error| format!("{shown}: not an X.509 certificate: {error}"))?;
    let validity = parsed.validity();
    let (not_before, not_after) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
    let (names, file) = (names.unwrap_or_default(), file.to_owned());
    Ok(Certificate { names, file, not_before, not_after, renewal: None })
}

fn check_validity(shown: &Certificate, now: SystemTime) -> Result<(), String> {
    let file = shown.file.display();
    if shown.not_after < now {
        return Err(format!("{file}: the certificate expired at {}", date(shown.not_after)));
    }
    if shown.not_before > now {
        let from = date(shown.not_before);
        return Err(format!("{file}: the certificate is not valid before {from}; is the clock right?"));
    }
    Ok(())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// As in HTTP, to the second.
fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
