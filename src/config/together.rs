//! The schema of `cluster`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::cluster::{Cluster, Redis};
use super::raw::Raw;
use super::section::{Place, Section};
use super::values::{check_name, duration_in, is_off, text};

const PORT: u16 = 6379;
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVAL_MIN: Duration = Duration::from_millis(20);
const INTERVAL_MAX: Duration = Duration::from_secs(5);
const FORGET_AFTER: Duration = Duration::from_mins(15);
const FORGET_AFTER_MIN: Duration = Duration::from_secs(10);
const FORGET_AFTER_MAX: Duration = Duration::from_hours(24);
const SECRET_BYTES_MAX: usize = 1024;
const EXAMPLE: &str = "write redis://host:6379, or redis://user:password@host:6379/0; rediss:// is with TLS";

/// `off`, or a mapping.
pub(super) fn cluster(place: &Place) -> Option<Cluster> {
    if is_off(place.raw) {
        return None;
    }
    place.section()?.finish(settings)
}

fn settings(s: &mut Section) -> Option<Cluster> {
    let redis =
        s.required("redis", "name the server where the gateways meet, such as redis://127.0.0.1:6379")?;
    let redis = redis.read(redis_url);
    let name = s.get("name", "evenkeel".to_owned(), name);
    let interval = s.get("interval", INTERVAL, duration_in(INTERVAL_MIN..=INTERVAL_MAX));
    let listen = s.option("listen", listen);
    let forget_after = s.get("forget_after", FORGET_AFTER, duration_in(FORGET_AFTER_MIN..=FORGET_AFTER_MAX));
    Some(Cluster { redis: redis?, name, interval, listen, forget_after })
}

fn name(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?;
    check_name(&name)?;
    Ok(name)
}

/// An address, with or without a port.
fn listen(raw: &Raw) -> Result<SocketAddr, String> {
    let given = text(raw)?;
    let bare = given.trim_matches(['[', ']']).parse().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    let address = bare.or_else(|_| given.parse());
    address.ok().filter(|address| !address.ip().is_unspecified()).ok_or_else(|| {
        format!("{given:?} is not an address of this machine that the other gateways can reach; write 10.0.0.5, or 10.0.0.5:7946 for a port of its own")
    })
}

/// What is wrong is said without the URL: it may have a password.
fn redis_url(raw: &Raw) -> Result<Redis, String> {
    let given = text(raw)?;
    let (tls, rest) = match (given.strip_prefix("redis://"), given.strip_prefix("rediss://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(format!("is not the URL of a Redis server; {EXAMPLE}")),
    };
    let (credentials, place) =
        rest.rsplit_once('@').map_or((None, rest), |(left, right)| (Some(left), right));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let database = match database {
        "" => 0,
        number => number.parse().map_err(|_| format!("names no database by a number; {EXAMPLE}"))?,
    };
    let with_port = |authority: &str| match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
        _ => format!("{authority}:{PORT}"),
    };
    let address = with_port(authority).parse();
    let address = address.map_err(|_| format!("has no address of a Redis server; {EXAMPLE}"))?;
    let (user, password) = match credentials.map(|credentials| credentials.split_once(':')) {
        None => (None, None),
        Some(None) => return Err(format!("has a name before the @ and no password; {EXAMPLE}")),
        Some(Some((user, password))) => (secret(user)?, secret(password)?),
    };
    Ok(Redis { address, tls, user, password, database })
}

/// A part of the URL in which `%40` stands for `@`; `None`: it is empty.
fn secret(text: &str) -> Result<Option<String>, String> {
    let wrong =
        || "has a user or password that is not readable; write a % in it as %25, a @ as %40".to_owned();
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(u8::try_from(high << 4 | low).map_err(|_| wrong())?);
    }
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(wrong());
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}
