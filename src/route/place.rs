//! The place of a request's model: its body, or else its target.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::packed::Packing;
use super::percent::decoded;
use super::{form, json, stored};
use crate::fleet::StoredId;
use crate::http1::range_in;

/// Most bytes of a form that are searched.
const FORM_MAX: usize = 64 * 1024;

/// The place of a request's model, as far as its header tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The target names it.
    named: Option<String>,
    /// The body is a form with this boundary.
    boundary: Option<String>,
    packing: Packing,
    /// The stored response that the target names.
    response: Option<StoredId>,
}

impl Place {
    /// `content_type`, `content_encoding`: the values of these fields.
    pub fn of(
        path: &str,
        query: Option<&str>,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Self {
        let packing = content_encoding.map(Packing::of).unwrap_or_default();
        let named = query.and_then(in_query).or_else(|| in_path(path));
        let boundary = content_type.and_then(form::boundary).map(str::to_owned);
        Self { named, boundary, packing, response: stored::in_path(path) }
    }

    /// The model that the target names.
    pub fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// The stored response that the target names.
    pub fn response(&self) -> Option<StoredId> {
        self.response
    }

    /// The model, with the whole body at hand.
    pub fn model(&self, body: &[u8]) -> Option<String> {
        self.in_body(body).or_else(|| self.named.clone())
    }

    /// The model that a node takes the request for: the target names it only if there is no body.
    pub fn asked(&self, body: &[u8]) -> Option<String> {
        if body.is_empty() { self.named.clone() } else { self.in_body(body) }
    }

    /// The same for those to whom it matters that no other is meant: nothing if a form names several, or is packed, so that it may.
    pub fn asked_alone(&self, body: &[u8]) -> Option<String> {
        let is_clear = |boundary: &String| {
            body.is_empty() || !self.is_packed() && form::fields(body, boundary, "model").nth(1).is_none()
        };
        self.asked(body).filter(|_| self.boundary.as_ref().is_none_or(is_clear))
    }

    /// The body, or the beginning of one that is packed.
    pub(super) fn text<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        self.packing.beginning(body)
    }

    fn in_body(&self, body: &[u8]) -> Option<String> {
        let body = &*self.text(body);
        let Some(boundary) = &self.boundary else { return json::model(body) };
        let value = &body[in_form(body, boundary)?];
        String::from_utf8(value.to_vec()).ok()
    }

    /// The place of the model's name in a body that is not packed; in JSON, with its quotes.
    pub(super) fn in_unpacked(&self, body: &[u8]) -> Option<Range<usize>> {
        match &self.boundary {
            Some(boundary) => in_form(body, boundary),
            None => json::place(body),
        }
    }

    /// The body is packed (Content-Encoding): it can be searched, but not changed.
    pub fn is_packed(&self) -> bool {
        self.packing != Packing::None
    }

    pub(super) fn is_form(&self) -> bool {
        self.boundary.is_some()
    }
}

fn in_form(body: &[u8], boundary: &str) -> Option<Range<usize>> {
    let start = &body[..body.len().min(FORM_MAX)];
    range_in(body, form::field(start, boundary, "model")?)
}

/// `?model=`, as `/v1/realtime` has it.
fn in_query(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("model="))?;
    decoded(&value.replace('+', " ")).filter(|model| !model.is_empty())
}

/// `/v1/models/{model}`, whose name may have slashes.
fn in_path(path: &str) -> Option<String> {
    const MODELS: &[u8] = b"/v1/models/";
    let at = memmem::find(path.as_bytes(), MODELS)?;
    decoded(&path[at + MODELS.len()..]).filter(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn models_in_targets() {
        for (path, query, want) in [
            ("/v1/realtime", Some("a=b&model=org%2Fm+1"), Some("org/m 1")),
            ("/v1/realtime", Some("xmodel=m&model="), None),
            ("/v1/models/org/m", None, Some("org/m")),
            ("/api/v1/models/org%2fm%zz", Some(""), Some("org/m%zz")),
            ("/v1/models/", None, None),
            ("/v1/models", None, None),
        ] {
            assert_eq!(Place::of(path, query, None, None).model(b"").as_deref(), want, "{path} {query:?}");
        }
    }

    #[test]
    fn the_body_goes_before_the_target() {
        let place = Place::of("/v1/x", Some("model=t"), None, None);
        assert_eq!(place.model(br#"{"model":"b"}"#).as_deref(), Some("b"));
        assert_eq!((place.model(b"").as_deref(), place.named()), (Some("t"), Some("t")));
    }

    #[test]
    fn a_packed_body_is_unpacked_as_far_as_needed() {
        let place = Place::of("/v1/x", None, None, Some("GZip"));
        assert_eq!(place.model(&gzip(br#"{"model":"m"}"#)).as_deref(), Some("m"));
        let long = |before: &str| format!("{before}\"x\":[{}]}}", "1,".repeat(1024 * 1024));
        assert_eq!(place.model(&gzip(long("{\"model\":\"m\",").as_bytes())).as_deref(), Some("m"));
        let prompt = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
        assert_eq!(place.model(&gzip(prompt.as_bytes())).as_deref(), Some("m"), "its limit is within a text");
        assert_eq!(place.model(b"no gzip"), None);
    }

    #[test]
    fn a_form_is_searched_up_to_its_limit() {
        let place =
            Place::of("/v1/audio/transcriptions", None, Some("multipart/form-data; boundary=b"), None);
        let form = |size: usize| {
            let file = "x".repeat(size);
            let part = |name: &str, value: &str| {
                format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            format!("{}{}--b--\r\n", part("file", &file), part("model", "whisper"))
        };
        assert_eq!(place.model(form(60_000).as_bytes()).as_deref(), Some("whisper"));
        assert_eq!(place.model(form(70_000).as_bytes()), None);
    }
}
