//! The failure of an order, in words that say what to do.

use std::path::Path;
use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::config::Challenge;

/// The pause after a limit of the server's was reached, if it does not say how long.
const LIMITED: Duration = Duration::from_hours(1);
/// The most of a server's text that is passed on, in characters.
const DETAIL_MAX: usize = 400;

/// The end of an attempt that got no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    pub text: String,
    /// The pause that the server wants.
    pub pause: Option<Duration>,
    /// The server does not know the account: it has to be made again.
    pub is_stranger: bool,
    /// There is a certificate, and it is in use.
    pub is_only_unkept: bool,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), pause: None, is_stranger: false, is_only_unkept: false }
    }

    pub(super) fn slow(limit: Duration) -> Self {
        Self::new(format!("the ACME server did not come to an end within {} s", limit.as_secs()))
    }

    pub(super) fn unusable(why: String) -> Self {
        Self::new(format!("the ACME server's certificate cannot be used: {why}"))
    }

    pub(super) fn unkept(file: &Path, error: &std::io::Error) -> Self {
        let text = format!(
            "it is in use, but cannot be kept in {}: {error}; a restart asks for another one",
            file.display()
        );
        Self { is_only_unkept: true, ..Self::new(text) }
    }

    /// `pause`: as the server's answer had it.
    pub(super) fn of(error: &Error, challenge: Challenge, pause: Option<Duration>) -> Self {
        match error {
            Error::Api(problem) => Self::refused(None, problem, challenge, pause),
            Error::Timeout(_) => {
                Self { pause, ..Self::new("the ACME server did not come to an end in time") }
            }
            Error::Json(_) => {
                Self::new("the answer is none of an ACME server; is `directory` the right URL?")
            }
            error => Self { pause, ..Self::new(plain(&error.to_string())) },
        }
    }

    /// A problem that the server names (RFC 8555 section 6.7), of one name or of all.
    pub(super) fn refused(
        name: Option<&str>,
        problem: &Problem,
        challenge: Challenge,
        pause: Option<Duration>,
    ) -> Self {
        let full = problem.r#type.as_deref().unwrap_or_default();
        let kind = full.rsplit(':').next().unwrap_or_default();
        let detail = plain(problem.detail.as_deref().unwrap_or("no reason given"));
        let of_name = name.map_or(String::new(), |name| format!("{name}: "));
        let advice = advice(kind, name.map(|_| challenge));
        let is_limit = kind == "rateLimited";
        Self {
            text: format!("the ACME server refuses: {of_name}{detail} ({kind}){advice}"),
            pause: pause.or(is_limit.then_some(LIMITED)),
            is_stranger: kind == "accountDoesNotExist",
            is_only_unkept: false,
        }
    }
}

/// `proof`: the one that failed; `None`: it was something else.
fn advice(kind: &str, proof: Option<Challenge>) -> &'static str {
    match (kind, proof) {
        ("connection" | "tls" | "unauthorized" | "incorrectResponse", Some(Challenge::TlsAlpn01)) => {
            "; port 443 of the name must lead to this gateway from everywhere, with nothing between that ends TLS"
        }
        ("connection" | "unauthorized" | "incorrectResponse", Some(Challenge::Http01)) => {
            "; port 80 of the name must lead from everywhere to an address of this gateway without TLS"
        }
        ("dns", _) => "; the name must have an address in the DNS that the ACME server sees",
        ("caa", _) => "; a CAA record in the DNS keeps this ACME server from it",
        ("rejectedIdentifier", _) => "; this ACME server gives no certificate for such a name",
        ("rateLimited", _) => "; its limit is reached, and a reload does not help",
        ("externalAccountRequired", _) => "; it wants an account made elsewhere, which is not supported",
        ("userActionRequired", _) => {
            "; its terms may have changed: read and agree to them, then remove account.json"
        }
        ("invalidContact" | "unsupportedContact", _) => "; change `email`, or leave it out",
        _ => "",
    }
}

/// Text from outside, for one line of a log.
fn plain(text: &str) -> String {
    text.chars().take(DETAIL_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        let json =
            format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}","status":400}}"#);
        serde_json::from_str(&json).expect("a problem")
    }

    #[test]
    fn refusals_say_what_to_do() {
        const MINUTE: Duration = Duration::from_mins(1);
        for (kind, challenge, asked, says, pause) in [
            ("connection", Challenge::TlsAlpn01, None, "port 443 of the name", None),
            ("unauthorized", Challenge::Http01, None, "port 80 of the name", None),
            ("dns", Challenge::Http01, None, "must have an address", None),
            ("rateLimited", Challenge::Http01, None, "its limit is reached", Some(LIMITED)),
            ("rateLimited", Challenge::Http01, Some(MINUTE), "its limit is reached", Some(MINUTE)),
            ("externalAccountRequired", Challenge::Http01, None, "not supported", None),
            ("serverInternal", Challenge::Http01, Some(MINUTE), "broken (serverInternal)", Some(MINUTE)),
        ] {
            let failure = Failure::refused(Some("a.example"), &problem(kind, "broken"), challenge, asked);
            assert!(failure.text.contains(says) && failure.text.contains("a.example: broken"), "{failure:?}");
            assert_eq!((failure.pause, failure.is_stranger), (pause, false), "{kind}");
        }
        assert!(
            Failure::refused(None, &problem("accountDoesNotExist", "x"), Challenge::Http01, None).is_stranger
        );
    }

    #[test]
    fn a_servers_text_stays_on_its_line() {
        let long = "x".repeat(5000);
        let failure =
            Failure::refused(None, &problem("dns", &format!("a\\nb{long}")), Challenge::Http01, None);
        assert!(failure.text.contains("a bxx") && failure.text.len() < 600, "{}", failure.text.len());
    }
}
