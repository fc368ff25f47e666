//! Value parsers: each turns one raw value of the file into a typed one, or a message on how to fix it.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::NodeAddress;
use super::address::split_port;
use super::model::{MaxInFlight, Weight};
use super::problems::plain;
use super::raw::{Raw, Value};
use super::suggest::unknown_word;
use super::units::{parse_duration, parse_size, show_duration, show_size};

const DURATION_MAX: Duration = Duration::from_hours(366 * 24);
const NAME_BYTES_MAX: usize = 128;
/// The most characters of a value in a message: enough to find it, too few to reveal a whole secret.
const SHOWN_MAX: usize = 60;

/// The value as shown in a message.
pub(super) fn shown(raw: &Raw) -> String {
    if let Some(written) = &raw.written {
        return format!("`{}`", plain(written, SHOWN_MAX));
    }
    match &raw.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => format!("`{}`", plain(text, SHOWN_MAX)),
        Value::List(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
    }
}

/// Text, or a whole number taken as text.
pub(super) fn text(raw: &Raw) -> Result<String, String> {
    match &raw.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(value) => Ok(value.to_string()),
        Value::Bool(_) | Value::Float(_) => Err(format!("{} is not text; put it in quotes", shown(raw))),
        Value::Null | Value::List(_) | Value::Mapping(_) => {
            Err(format!("expected text, found {}", shown(raw)))
        }
    }
}

/// The name of a pool or node, fit for paths, labels and headers.
pub(super) fn name(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?;
    match &raw.written {
        Some(written) if check_name(&name).is_err() => Err(not_a_name(written)),
        _ => check_name(&name).map(|()| name),
    }
}

/// The name of a node that is given none.
pub(super) fn default_name(address: &NodeAddress) -> Result<String, String> {
    let name = address.short();
    check_name(&name).map(|()| name).map_err(|_| match address {
        NodeAddress::Unix(_) => "the socket's file name cannot be the name; give it a `name`".to_owned(),
        NodeAddress::Http(_) | NodeAddress::Https(_) => {
            "the address is too long to be the name; give it a `name`".to_owned()
        }
    })
}

pub(super) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:[]-".contains(&b);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(not_a_name(name))
}

fn not_a_name(text: &str) -> String {
    let text = plain(text, SHOWN_MAX);
    format!("`{text}` is not a name; use 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ : [ ] -")
}

pub(super) fn is_off(raw: &Raw) -> bool {
    matches!(&raw.value, Value::Bool(false)) || matches!(&raw.value, Value::Text(text) if text == "off")
}

/// `on`, `off`, `true`, `false`.
pub(super) fn switch(raw: &Raw) -> Result<bool, String> {
    match &raw.value {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) if text == "on" => Ok(true),
        Value::Text(text) if text == "off" => Ok(false),
        _ => Err(format!("{} is not a switch; use true or false", shown(raw))),
    }
}

/// Accepts one of a few words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Raw) -> Result<T, String> {
    move |raw| {
        let word = match &raw.value {
            Value::Bool(false) => "off".to_owned(),
            Value::Float(value) => value.to_string(),
            _ => text(raw)?,
        };
        let known = words.iter().map(|(name, _)| *name);
        match words.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => Ok(*value),
            None => Err(format!("{} {}", shown(raw), unknown_word(&word, known))),
        }
    }
}

/// A whole number within the range.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Raw) -> Result<T, String>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |raw| {
        let number = match raw.value {
            Value::Integer(value) => T::try_from(value).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        let wanted =
            || format!("{} is not a whole number from {} to {}", shown(raw), range.start(), range.end());
        number.ok_or_else(wanted)
    }
}

/// The result of `read`, or `None` for `word`.
pub(super) fn or_word<T>(
    word: &str,
    read: impl Fn(&Raw) -> Result<T, String>,
) -> impl Fn(&Raw) -> Result<Option<T>, String> {
    move |raw| match &raw.value {
        Value::Text(text) if text == word => Ok(None),
        Value::Bool(false) if word == "off" => Ok(None),
        _ => read(raw).map(Some).map_err(|message| format!("{message}, or `{word}`")),
    }
}

/// 1ms to 366d.
pub(super) fn duration(raw: &Raw) -> Result<Duration, String> {
    duration_within(raw, &(Duration::from_millis(1)..=DURATION_MAX))
}

/// A duration outside of the file, by the rules of the file: 1ms to 366d.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    duration(&Raw { line: 0, value: Value::Text(text.to_owned()), written: None })
}

/// A duration within the range.
pub(super) fn duration_in(range: RangeInclusive<Duration>) -> impl Fn(&Raw) -> Result<Duration, String> {
    move |raw| duration_within(raw, &range)
}

/// 0s to 366d, where `off` is zero.
pub(super) fn duration_or_zero(raw: &Raw) -> Result<Duration, String> {
    if is_off(raw) {
        return Ok(Duration::ZERO);
    }
    duration_within(raw, &(Duration::ZERO..=DURATION_MAX)).map_err(|message| message + ", or `off`")
}

fn duration_within(raw: &Raw, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let parsed = match &raw.value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        Value::Text(text) => parse_duration(text),
        _ => None,
    };
    match parsed {
        Some(duration) if range.contains(&duration) => Ok(duration),
        Some(_) => {
            let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
            Err(format!("{} is out of range; use {from} to {to}", shown(raw)))
        }
        None => Err(format!(
            "{} is not a duration; use a number and a unit, such as 500ms, 5s, 2m or 1h30m",
            shown(raw)
        )),
    }
}

/// Bytes within the range.
pub(super) fn size<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Raw) -> Result<T, String> {
    move |raw| {
        let bytes = match &raw.value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => parse_size(text),
            _ => None,
        };
        let Some(bytes) = bytes else {
            return Err(format!(
                "{} is not a size; use a number and a unit, such as 32KiB or 64MiB",
                shown(raw)
            ));
        };
        let (from, to) = (show_size(*range.start()), show_size(*range.end()));
        let fitting =
            Some(bytes).filter(|bytes| range.contains(bytes)).and_then(|bytes| T::try_from(bytes).ok());
        fitting.ok_or_else(|| format!("{} is out of range; use {from} to {to}", shown(raw)))
    }
}

/// Refuses a list or mapping with too few or too many entries.
pub(super) fn count(found: usize, range: &RangeInclusive<usize>, things: &str) -> Result<(), String> {
    let (least, most) = (range.start(), range.end());
    match found {
        _ if found < *least => Err(format!("has no {things}; at least {least} is needed")),
        _ if found > *most => Err(format!("has {found} {things}; at most {most} are allowed")),
        _ => Ok(()),
    }
}

/// A weight: a share relative to other nodes.
pub(super) fn weight(raw: &Raw) -> Result<Weight, String> {
    let number = match &raw.value {
        Value::Integer(value) => value.to_string().parse().unwrap_or(f64::INFINITY),
        Value::Float(value) => *value,
        Value::Text(text) if text == "auto" => {
            return Ok(Weight::Auto);
        }
        _ => {
            return Err(format!("{} is not a weight; use a number above 0, or `auto`", shown(raw)));
        }
    };
    match number {
        0.0 => Err("0 is not a weight; use a number above 0, or `drain: true` to stop traffic".to_owned()),
        0.000_001..=1_000_000.0 => Ok(Weight::Fixed(number)),
        _ => Err(format!("{} is not a weight; use a number from 0.000001 to 1000000", shown(raw))),
    }
}

/// 1 to `most`, `off` or `auto`.
pub(super) fn max_in_flight(most: usize) -> impl Fn(&Raw) -> Result<MaxInFlight, String> {
    move |raw| match &raw.value {
        Value::Text(text) if text == "auto" => Ok(MaxInFlight::Auto),
        _ if is_off(raw) => Ok(MaxInFlight::Off),
        _ => integer(1..=most)(raw)
            .map(MaxInFlight::Fixed)
            .map_err(|message| format!("{message}, `off` or `auto`")),
    }
}

/// An IP address (or `localhost`, which is 127.0.0.1) and a port to listen on.
pub(super) fn listen_address(raw: &Raw) -> Result<SocketAddr, String> {
    let wrong = |why: &str| format!("{} is not an address to listen on: {why}", shown(raw));
    let (host, port) =
        split_port(&text(raw)?).map(|(host, port)| (host.to_owned(), port)).map_err(|why| wrong(&why))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, port)),
        Err(_) if host == "localhost" => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        Err(_) => Err(wrong("use an IP address and a port, such as 0.0.0.0:9999 or [::]:9999")),
    }
}

/// The address of a name server.
pub(super) fn resolver(raw: &Raw) -> Result<SocketAddr, String> {
    let text = text(raw)?;
    let bare = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    text.parse().ok().or_else(bare).ok_or_else(|| {
        format!(
            "{} is not the address of a name server; use an IP address, such as 10.0.0.53, or 10.0.0.53:53",
            shown(raw)
        )
    })
}

pub(super) fn node_address(raw: &Raw) -> Result<NodeAddress, String> {
    let parsed = text(raw)?.parse::<NodeAddress>();
    parsed.map_err(|why| format!("{} is not the address of a node: {why}", shown(raw)))
}

/// The name of a header field.
pub(super) fn header_name(raw: &Raw) -> Result<HeaderName, String> {
    let name = text(raw)?;
    name.parse()
        .map_err(|_| format!("{} is not the name of a header field, such as X-Session-Id", shown(raw)))
}

/// A network in CIDR notation, or one IP address.
pub(super) fn network(raw: &Raw) -> Result<IpNet, String> {
    let text = text(raw)?;
    let network =
        text.parse::<IpNet>().map(|net| net.trunc()).or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("{} is not a network; use 10.0.0.0/8, or one IP address", shown(raw)))
}

/// The path of a file.
pub(super) fn file(raw: &Raw) -> Result<PathBuf, String> {
    let path = text(raw)?;
    if path.is_empty() || path.contains('\0') {
        return Err(format!("{} is not the path of a file", shown(raw)));
    }
    Ok(PathBuf::from(path))
}
