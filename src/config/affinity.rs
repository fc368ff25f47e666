//! The schema of `affinity`, the settings of the hashing policies.

use http::HeaderName;

use super::model::Affinity;
use super::raw::{Raw, Value};
use super::section::Section;
use super::values::{header_name, shown};

const HEADERS_MAX: usize = 16;
const BOUND_MAX: f64 = 100.0;

pub(super) fn affinity(s: &mut Section) -> Affinity {
    let default =
        || vec![HeaderName::from_static("x-session-id"), HeaderName::from_static("x-correlation-id")];
    Affinity {
        headers: s.list("headers", 0..=HEADERS_MAX, header_name).unwrap_or_else(default),
        bound: s.get("bound", 1.2, bound),
    }
}

fn bound(raw: &Raw) -> Result<f64, String> {
    let number = match raw.value {
        Value::Integer(value) => value as f64,
        Value::Float(value) => value,
        _ => f64::NAN,
    };
    if (1.0..=BOUND_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{} is not a number from 1 to {BOUND_MAX}", shown(raw)))
    }
}
