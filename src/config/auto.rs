//! The schema of `tls.auto`: a certificate that the gateway gets from an ACME server (RFC 8555).

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;

use super::acme::{Auto, Challenge};
use super::edge::Listening;
use super::model::Listener;
use super::raw::Raw;
use super::section::{Place, Section};
use super::values::{choice, file, shown, switch, text};

/// The most names of a certificate: as many as Let's Encrypt allows.
const NAMES_MAX: usize = 100;
/// RFC 1035 section 2.3.4.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
const EMAIL_BYTES_MAX: usize = 254;
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STATE: &str = "/var/lib/evenkeel/acme";

/// `auto` among the keys of `tls`.
pub(super) fn auto(s: &mut Section) -> Option<Auto> {
    let place = s.place("auto");
    s.take("auto")?.section()?.finish(|s| section(s, place))
}

fn section(s: &mut Section, place: String) -> Option<Auto> {
    const CHALLENGES: [(&str, Challenge); 2] =
        [("tls-alpn-01", Challenge::TlsAlpn01), ("http-01", Challenge::Http01)];
    let names = s.required("names", "list the names that clients use, such as `names: [gw.example.org]`");
    let names = names.map(|place| several(&place)).unwrap_or_default();
    let agreed = s.get("terms_agreed", false, switch);
    s.rule("terms_agreed", &[], agreed, || {
        "must be true: the ACME server gives certificates only to those who have agreed to its terms of service"
            .to_owned()
    });
    let state_place = s.has("state").then(|| s.place("state"));
    let auto = Auto {
        names,
        email: s.option("email", email),
        state: s.get("state", PathBuf::from(STATE), file),
        directory: s.get("directory", LETS_ENCRYPT.to_owned(), directory),
        ca: s.option("ca", file),
        challenge: s.get("challenge", Challenge::TlsAlpn01, choice(&CHALLENGES)),
        place,
        state_place,
    };
    (!auto.names.is_empty()).then_some(auto)
}

fn several(place: &Place) -> Vec<String> {
    let mut names = Vec::new();
    for item in place.items(1..=NAMES_MAX, "names").unwrap_or_default() {
        match item.read(name) {
            Some(name) if names.contains(&name) => item.problem(format!("`{name}` is listed twice")),
            Some(name) => names.push(name),
            None => {}
        }
    }
    names
}

/// A DNS name in lower case.
fn name(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?.trim_end_matches('.').to_ascii_lowercase();
    if name.starts_with("*.") {
        return Err(format!(
            "{} is a wildcard, for which an ACME server wants DNS-01, which the gateway does not do; list each name, or \
             name the files of such a certificate in `certificates`",
            shown(raw)
        ));
    }
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!("{} is an IP address; list names", shown(raw)));
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label) {
        return Ok(name);
    }
    Err(format!(
        "{} is not a DNS name; use letters, digits, `-` and `.`, others in their `xn--` form",
        shown(raw)
    ))
}

fn email(raw: &Raw) -> Result<String, String> {
    let email = text(raw)?;
    let is_plain = email.len() <= EMAIL_BYTES_MAX && email.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    match email.split_once('@') {
        Some((who, at)) if is_plain && !who.is_empty() && !at.is_empty() => Ok(email),
        _ => Err(format!("{} is not an address of e-mail, such as ops@example.org", shown(raw))),
    }
}

fn directory(raw: &Raw) -> Result<String, String> {
    let url = text(raw)?;
    // a password that should not be there is not repeated
    let named = if url.contains('@') { "the URL".to_owned() } else { shown(raw) };
    let parsed =
        url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("https") && !url.contains('@'));
    let host = parsed.as_ref().and_then(Uri::host).filter(|host| !host.is_empty());
    host.map(|_| url.clone()).ok_or_else(|| {
        format!("{named} is not the https:// URL of an ACME server's directory, such as {LETS_ENCRYPT}")
    })
}

fn autos(listeners: &[Listener]) -> impl Iterator<Item = &Auto> {
    listeners.iter().filter_map(|listener| listener.tls.as_ref()?.auto.as_ref())
}

/// Two addresses may share a certificate, but not the file of two: the problem with the second one.
pub(super) fn clash(tls: Option<&Listening>, listeners: &[Listener]) -> Option<String> {
    let auto = tls?.auto.as_ref()?;
    let other = autos(listeners).find(|other| other.file() == auto.file() && !other.is_same(auto))?;
    Some(format!(
        "`tls.auto` differs from that of {}, and begins with the same name: both would be kept in {}; let them be the same, or \
         begin with another name",
        other.place,
        auto.file().display()
    ))
}

/// The ports that an ACME server knocks at.
pub(super) fn notices(s: &Section, listeners: &[Listener], admin: Option<&Listening>) {
    let (plain, tls): (Vec<_>, Vec<_>) = listeners.iter().partition(|listener| listener.tls.is_none());
    let has_port =
        |listeners: &[&Listener], port| listeners.iter().any(|listener| listener.address.port() == port);
    let wants = |challenge| {
        autos(listeners)
            .chain(admin.and_then(|tls| tls.auto.as_ref()))
            .any(|auto| auto.challenge == challenge)
    };
    if wants(Challenge::Http01) && !has_port(&plain, 80) {
        let more = if plain.is_empty() { ", which has none yet" } else { "" };
        s.notice(
            "listen",
            format!(
                "`challenge: http-01`: the ACME server asks at port 80 of each name; let that lead to an address of the \
                 gateway without TLS{more}"
            ),
        );
    }
    if wants(Challenge::TlsAlpn01) && !has_port(&tls, 443) {
        s.notice(
            "listen",
            "`challenge: tls-alpn-01`: the ACME server asks at port 443 of each name; let that lead to an address of the gateway \
             with TLS, and let nothing in between end the TLS",
        );
    }
}
