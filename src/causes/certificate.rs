//! Causes that lie with a certificate which the gateway gets by itself.

use super::scene::CertificateScene;
use super::words::count;
use crate::status::{Cause, Severity};
use crate::tls::NEAR_DAYS;

pub(super) fn causes(certificates: &[CertificateScene]) -> impl Iterator<Item = Cause> {
    certificates.iter().filter_map(|certificate| {
        let (severity, text) = cause(certificate)?;
        Some(Cause { severity, pool: None, node: None, text })
    })
}

fn cause(certificate: &CertificateScene) -> Option<(Severity, String)> {
    let CertificateScene { name, days_left, is_pending, error } = certificate;
    let because = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    match days_left {
        _ if *is_pending && error.is_none() => {
            Some((Severity::Info, format!("the first certificate for {name} is being asked for")))
        }
        _ if *is_pending => Some((
            Severity::Bad,
            format!("{name} has no certificate yet, so its clients refuse to connect{because}"),
        )),
        None => Some((Severity::Bad, format!("the certificate for {name} has expired{because}"))),
        Some(days) if error.is_some() && *days < NEAR_DAYS => {
            let left = count(*days, "day");
            Some((
                Severity::Warn,
                format!("the certificate for {name} ends in {left} and cannot be renewed{because}"),
            ))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_renewed_is_told_in_time() {
        for (days_left, is_pending, error, told) in [
            (Some(80), false, None, None),
            (Some(30), false, Some("no server"), None),
            (
                Some(29),
                false,
                Some("no server"),
                Some((Severity::Warn, "ends in 29 days and cannot be renewed: no server")),
            ),
            (Some(1), false, None, None),
            (None, false, None, Some((Severity::Bad, "the certificate for a.example has expired"))),
            (None, false, Some("no server"), Some((Severity::Bad, "has expired: no server"))),
            (Some(1), true, None, Some((Severity::Info, "is being asked for"))),
            (Some(1), true, Some("no server"), Some((Severity::Bad, "no certificate yet"))),
        ] {
            let scene = CertificateScene {
                name: "a.example".into(),
                days_left,
                is_pending,
                error: error.map(str::to_owned),
            };
            let found: Vec<_> = causes(std::slice::from_ref(&scene)).collect();
            match told {
                None => assert!(found.is_empty(), "{scene:?}: {found:?}"),
                Some((severity, words)) => {
                    assert!(found.len() == 1 && found[0].text.contains(words), "{scene:?}: {found:?}");
                    assert_eq!(found[0].severity, severity, "{scene:?}");
                }
            }
        }
    }
}
