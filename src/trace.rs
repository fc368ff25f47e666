//! The trace that a request belongs to, and the ids of its spans: W3C Trace Context, level 1.
//!
//! A request that comes with a `traceparent` goes on with its trace, if that is sampled; one that comes with none, or with one that
//! is not valid, begins a trace. A trace that its client does not sample is left alone: its fields go on as they came.

use http::HeaderMap;

use crate::config::Tracing;
use crate::mix::mix;

pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// The length of `traceparent` in version 00, in bytes.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A valid `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Not 0.
    pub trace: u128,
    /// The span of the sender; not 0.
    pub span: u64,
    pub is_sampled: bool,
}

/// The trace of a request, where the gateway adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Not 0.
    pub id: u128,
    /// The client's span; `None`: the trace begins here.
    pub parent: Option<u64>,
    /// The request's own span; not 0.
    pub span: u64,
    /// Its spans are exported.
    pub is_sampled: bool,
}

impl Parent {
    /// The `traceparent` of a request, if it has one that is valid. Of several fields none is.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let field = fields.next()?;
        if fields.next().is_some() { None } else { Self::read(field.as_bytes()) }
    }

    /// Section 3.2. Of a version that is not known, the fields of version 00 are read.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let version = number(&known[..2])?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let is_parted = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !is_whole || !is_parted {
            return None;
        }
        let trace = number(&known[3..35]).filter(|id| *id != 0)?;
        let span = number(&known[36..52]).and_then(|id| u64::try_from(id).ok()).filter(|id| *id != 0)?;
        let flags = number(&known[53..])?;
        Some(Self { trace, span, is_sampled: flags & u128::from(SAMPLED) != 0 })
    }
}

/// Hexadecimal digits in lower case.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

impl Trace {
    /// The trace of a request with these fields. `None`: the gateway adds nothing, and its nodes get the fields as they are.
    pub fn of(headers: &HeaderMap, conf: Option<&Tracing>) -> Option<Box<Self>> {
        let conf = conf?;
        let span = fastrand::u64(1..);
        let trace = match Parent::of(headers) {
            Some(parent) if !parent.is_sampled => return None,
            Some(parent) => Self { id: parent.trace, parent: Some(parent.span), span, is_sampled: true },
            None => {
                let is_sampled = fastrand::f64() < conf.sample;
                Self { id: fastrand::u128(1..), parent: None, span, is_sampled }
            }
        };
        Some(Box::new(trace))
    }

    /// The span of the `nth` attempt, counted from 1; not 0, and not the request's.
    pub fn attempt(&self, nth: usize) -> u64 {
        let id = mix(self.span ^ mix(nth as u64));
        if id == 0 || id == self.span { !self.span } else { id }
    }

    /// `traceparent` for the node of the `nth` attempt.
    pub fn traceparent(&self, nth: usize) -> [u8; LENGTH] {
        let mut value = [b'-'; LENGTH];
        put(&mut value[..2], 0);
        put(&mut value[3..35], self.id);
        put(&mut value[36..52], self.attempt(nth).into());
        put(&mut value[53..], self.is_sampled.into());
        value
    }

    /// The client's `tracestate` belongs to this trace.
    pub fn keeps_state(&self) -> bool {
        self.parent.is_some()
    }
}

fn put(digits: &mut [u8], mut number: u128) {
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests;
