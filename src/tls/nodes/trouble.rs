//! Trouble with a node's TLS, in words for people.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

/// A node that is to speak HTTP/2 and has not agreed to.
pub(super) fn no_http2() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Error::NoApplicationProtocol)
}

/// The trouble that this error tells of; `None`: it is not with TLS.
pub(super) fn words(error: &io::Error) -> Option<String> {
    let error = cause(error)?;
    Some(match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::AlertReceived(alert) => match alert_words(*alert) {
            Some(words) => words.to_owned(),
            None => format!("it breaks off with the alert {alert:?}"),
        },
        Error::NoApplicationProtocol => alert_words(AlertDescription::NoApplicationProtocol)?.to_owned(),
        Error::InvalidMessage(_) => {
            "what it sends is no TLS; is the port right, and meant for https?".to_owned()
        }
        other => other.to_string(),
    })
}

/// The words of an alert by which a node refuses the gateway itself, of whose requests it has then taken none. With TLS 1.3 it comes
/// behind the handshake, in place of an answer.
pub(crate) fn refusal(error: &io::Error) -> Option<&'static str> {
    match cause(error)? {
        Error::AlertReceived(alert) => alert_words(*alert),
        _ => None,
    }
}

/// The same in an error of which only the text is left.
pub(super) fn refusal_in(text: &str) -> Option<&'static str> {
    let name = text.split_once("received fatal alert: ")?.1;
    let refusals = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ];
    refusals.into_iter().find(|alert| name.starts_with(&format!("{alert:?}"))).and_then(alert_words)
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn alert_words(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "it demands a certificate of the gateway; name one as `tls.cert` and `tls.key`"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => "it does not accept the gateway's certificate (`tls.cert`)",
        AlertDescription::NoApplicationProtocol => "it does not take the pool's `http_version` (ALPN)",
        AlertDescription::UnrecognisedName => "it knows no host of this name (`tls.sni`)",
        _ => return None,
    })
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by no authority that is known here; name that one as `tls.ca`"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate names an authority that is known here, which has not signed it; name the right one as `tls.ca`"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented =
                if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            format!(
                "its certificate is not for {}, but for {presented}; name the right host as `tls.sni`",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate has expired on {}", date(*not_after))
        }
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is valid only from {} on", date(*not_before))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority, which may sign others and stand for no server".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

fn date(time: UnixTime) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
