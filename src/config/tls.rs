//! The schema of `tls`, towards clients: the same for a listener and for the admin address.

use super::auto::auto;
use super::edge::{CertificateFiles, ClientAuth, Listening, TlsVersion, VerifyClient};
use super::section::{Place, Section};
use super::values::{choice, file};

/// The most certificates of one listener.
const CERTIFICATES_MAX: usize = 256;

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
const VERIFY: [(&str, VerifyClient); 3] =
    [("off", VerifyClient::Off), ("optional", VerifyClient::Optional), ("on", VerifyClient::On)];

/// TLS under the key `tls`; `off` is none.
pub(super) fn tls(s: &mut Section) -> Option<Listening> {
    let place = s.take("tls")?;
    if super::values::is_off(place.raw) {
        return None;
    }
    place.section().map(|section| section.finish(listening))
}

fn listening(s: &mut Section) -> Listening {
    let is_named = s.has("cert") || s.has("key");
    let mut certificates: Vec<CertificateFiles> = pair(s, false).into_iter().collect();
    let has_auto = s.has("auto");
    let auto = auto(s);
    if let Some(place) = s.take("certificates") {
        certificates.extend(several(&place));
    } else if !is_named && !has_auto {
        s.rule("cert", &["key"], false, || {
            "is missing; name the file of a certificate chain, and that of its `key`, or write `auto`"
                .to_owned()
        });
    }
    let min_version = s.get("min_version", TlsVersion::V1_2, choice(&VERSIONS));
    let verify = s.get("verify_client", VerifyClient::Off, choice(&VERIFY));
    let ca = s.option("client_ca", file).map(|file| (file, s.place("client_ca")));
    s.rule("client_ca", &["verify_client"], (verify == VerifyClient::Off) == ca.is_none(), || {
        "goes with `verify_client: on` or `optional`: it has the authorities of clients' certificates"
            .to_owned()
    });
    let client_auth = ca.map(|(ca, place)| ClientAuth { ca, place, is_required: verify == VerifyClient::On });
    Listening { certificates, auto, min_version, client_auth }
}

fn several(place: &Place) -> Vec<CertificateFiles> {
    let items = place.items(1..=CERTIFICATES_MAX, "certificates").unwrap_or_default();
    items.iter().filter_map(|item| item.section()?.finish(|s| pair(s, true))).collect()
}

/// A certificate and its key.
fn pair(s: &mut Section, is_required: bool) -> Option<CertificateFiles> {
    let (cert, key) = (s.option("cert", file), s.option("key", file));
    let is_whole = cert.is_some() == key.is_some() && (cert.is_some() || !is_required);
    let missing = if cert.is_some() { "key" } else { "cert" };
    s.rule(missing, &["cert", "key"], is_whole, || {
        "is missing; a certificate (`cert`) and its private key (`key`) go together".to_owned()
    });
    Some(CertificateFiles { cert: cert?, key: key?, place: s.place("cert"), key_place: s.place("key") })
}
