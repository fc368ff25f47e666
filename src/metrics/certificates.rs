//! Certificates of the addresses that clients connect to.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;

use super::sheet::Sheet;
use crate::tls::{Certificate, Renewal};

pub(super) fn write(sheet: &mut Sheet<'_>, certificates: &[Certificate]) -> fmt::Result {
    let ends = certificates.iter().map(|one| {
        let file = one.file.display().to_string();
        ([("name", name(one)), ("file", file)], one.expiry())
    });
    sheet.gauges(
        "certificate_expiry_timestamp_seconds",
        "The end of each certificate, in Unix time.",
        ends,
    )?;
    let autos = || certificates.iter().filter_map(|one| Some((name(one), one.renewal.as_ref()?)));
    let failures = autos().map(|(name, renewal): (_, &Renewal)| ([("name", name)], renewal.failures));
    sheet.counters(
        "acme_failures",
        "Attempts to get a certificate that failed, for `tls.auto`.",
        failures,
    )?;
    let successes =
        autos().filter_map(|(name, renewal)| Some(([("name", name)], seconds(renewal.last_success?))));
    let help = "The last time a certificate was got, in Unix time.";
    sheet.gauges("acme_last_success_timestamp_seconds", help, successes)
}

fn name(certificate: &Certificate) -> String {
    certificate.names.first().cloned().unwrap_or_default()
}

fn seconds(time: SystemTime) -> u64 {
    Timestamp::try_from(time).ok().and_then(|time| u64::try_from(time.as_second()).ok()).unwrap_or_default()
}
