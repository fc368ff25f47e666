//! Lines of the log about certificates: one for each attempt.

use std::time::SystemTime;

use super::failure::Failure;
use crate::tls::{Auto, Certificate, NEAR_DAYS};

/// The most names that are told.
const NAMES_SHOWN: usize = 3;

pub(super) fn succeeded(auto: &Auto, next: SystemTime) {
    let certificate = auto.certificate();
    log::info!(
        "a new certificate for {} from {}, valid until {}; the next one is asked for at {}",
        names(auto),
        auto.conf().directory,
        date(certificate.not_after),
        date(next)
    );
}

/// Perhaps of another gateway with the same state folder.
pub(super) fn found(auto: &Auto) {
    let until = date(auto.certificate().not_after);
    log::info!(
        "a new certificate for {} was found in {}, valid until {until}",
        names(auto),
        auto.conf().state.display()
    );
}

pub(super) fn failed(auto: &Auto, failure: &Failure, next: SystemTime, now: SystemTime) {
    let (names, directory, text) = (names(auto), &auto.conf().directory, &failure.text);
    if failure.is_only_unkept {
        log::error!("a new certificate for {names} from {directory}: {text}");
        return;
    }
    let left = left(&auto.certificate(), now);
    let sooner = if failure.pause.is_some() { "" } else { ", or after a reload" };
    let next = date(next);
    log::error!(
        "no new certificate for {names} from {directory}: {text}; {left}; the next attempt is at {next}{sooner}"
    );
}

/// The state of the certificate that stays in use.
fn left(certificate: &Certificate, now: SystemTime) -> String {
    if certificate.renewal.as_ref().is_some_and(|renewal| renewal.is_pending) {
        return "there is none yet, so clients get one that they cannot trust".to_owned();
    }
    let days = certificate.left(now).as_secs() / 86_400;
    let until = date(certificate.not_after);
    match days {
        _ if certificate.not_after <= now => format!("the old one EXPIRED at {until}"),
        0 => format!("the old one stays in use, and ends today, at {until}"),
        1..NEAR_DAYS => format!("the old one stays in use, and ends in {days} days, at {until}"),
        _ => format!("the old one stays in use, until {until}"),
    }
}

fn names(auto: &Auto) -> String {
    let names = &auto.conf().names;
    let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
