//! Certificates, as the status shows them.

use std::time::SystemTime;

use serde::Serialize;

use super::time::text;
use crate::tls::{Certificate, Renewal};

#[derive(Serialize)]
pub(super) struct CertificateStatus {
    names: Vec<String>,
    source: &'static str,
    file: String,
    state: State,
    not_after: String,
    days_left: u64,
    #[serde(flatten)]
    renewal: Option<RenewalStatus>,
}

#[derive(Serialize)]
struct RenewalStatus {
    last_error: Option<String>,
    last_success: Option<String>,
    next_attempt: Option<String>,
    failures: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Valid,
    /// Valid, and the last attempt to renew it has failed.
    Failing,
    /// There is none yet.
    Pending,
    Expired,
}

impl CertificateStatus {
    pub(super) fn of(certificate: &Certificate, now: SystemTime) -> Self {
        let renewal = certificate.renewal.as_ref();
        Self {
            names: certificate.names.clone(),
            source: if renewal.is_some() { "auto" } else { "file" },
            file: certificate.file.display().to_string(),
            state: State::of(certificate, now),
            not_after: text(certificate.not_after),
            days_left: certificate.left(now).as_secs() / 86_400,
            renewal: renewal.map(RenewalStatus::of),
        }
    }
}

impl State {
    fn of(certificate: &Certificate, now: SystemTime) -> Self {
        match &certificate.renewal {
            Some(renewal) if renewal.is_pending => Self::Pending,
            _ if certificate.not_after <= now => Self::Expired,
            Some(renewal) if renewal.last_error.is_some() => Self::Failing,
            _ => Self::Valid,
        }
    }
}

impl RenewalStatus {
    fn of(renewal: &Renewal) -> Self {
        Self {
            last_error: renewal.last_error.clone(),
            last_success: renewal.last_success.map(text),
            next_attempt: renewal.next_attempt.map(text),
            failures: renewal.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn certificate(renewal: Option<Renewal>) -> Certificate {
        let (not_before, not_after) = (UNIX_EPOCH, UNIX_EPOCH + DAY * 90);
        Certificate { names: vec!["a.example".into()], file: "/a.pem".into(), not_before, not_after, renewal }
    }

    #[test]
    fn states() {
        let pending = Renewal { is_pending: true, ..Renewal::default() };
        let failing = Renewal { last_error: Some("no".into()), failures: 3, ..Renewal::default() };
        for (renewal, day, source, state, left) in [
            (None, 1, "file", "valid", 89),
            (None, 90, "file", "expired", 0),
            (Some(Renewal::default()), 60, "auto", "valid", 30),
            (Some(failing.clone()), 60, "auto", "failing", 30),
            (Some(failing), 91, "auto", "expired", 0),
            (Some(pending), 0, "auto", "pending", 90),
        ] {
            let failures = renewal.as_ref().map(|renewal| renewal.failures);
            let shown = CertificateStatus::of(&certificate(renewal), UNIX_EPOCH + DAY * day);
            let shown = serde_json::to_value(&shown).expect("JSON");
            assert_eq!((&shown["source"], &shown["state"]), (&json!(source), &json!(state)), "{shown}");
            assert_eq!(shown["days_left"], left, "{shown}");
            assert_eq!(shown.get("failures"), failures.map(|count| json!(count)).as_ref(), "{shown}");
        }
    }
}
