//! TLS towards clients, as the status shows it.

use std::time::SystemTime;

use serde::Serialize;

use super::certificates::CertificateStatus;
use crate::tls::Certificate;

/// Values of the edge in a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    pub certificates: Vec<Certificate>,
    pub files: Files,
    pub failed_handshakes: u64,
}

/// The result of the last look into files that had changed.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The problems with them; what was read before is still in use.
    pub error: Option<String>,
    pub failures: u64,
}

#[derive(Serialize)]
pub(super) struct EdgeStatus {
    certificates: Vec<CertificateStatus>,
    /// The problems with files that have changed, which are not in use.
    error: Option<String>,
    failed_handshakes: u64,
}

impl EdgeStatus {
    /// `None`: there is no TLS.
    pub(super) fn of(edge: &Edge, now: SystemTime) -> Option<Self> {
        let certificates: Vec<_> =
            edge.certificates.iter().map(|one| CertificateStatus::of(one, now)).collect();
        let Edge { files, failed_handshakes, .. } = edge;
        let shown = Self { certificates, error: files.error.clone(), failed_handshakes: *failed_handshakes };
        (!shown.certificates.is_empty()).then_some(shown)
    }
}
