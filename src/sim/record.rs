//! A bounded record of the requests that a simulated node received, so that tests can check a gateway byte for byte.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use parking_lot::Mutex;

/// Number of requests kept; older ones are dropped.
const REQUESTS_MAX: usize = 1000;
/// Largest body that is kept; of larger ones only length and hash are.
const BODY_KEPT_MAX: usize = 64 << 10;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub version: http::Version,
    /// Names in lower case; in order of arrival, save that equal names stand together.
    pub headers: Vec<(String, String)>,
    pub body_len: u64,
    /// The result of `body_hash`.
    pub body_hash: u64,
    /// The body, if it is not larger than 64 KiB.
    pub body: Option<Bytes>,
    /// False if the body broke off.
    pub complete: bool,
}

impl RecordedRequest {
    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The hash of a body in the record, to compare with that of the bytes sent.
pub fn body_hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// The record of a node; empty unless `Options::record` is set.
#[derive(Default)]
pub(super) struct Record {
    requests: Mutex<VecDeque<RecordedRequest>>,
}

impl Record {
    pub(super) fn list(&self) -> Vec<RecordedRequest> {
        self.requests.lock().iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.requests.lock().clear();
    }

    /// Starts recording a request, which joins the record when the entry is dropped.
    pub(super) fn begin(self: &Arc<Self>, parts: &Parts) -> RecordEntry {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let request = RecordedRequest {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
            version: parts.version,
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body_len: 0,
            body_hash: 0,
            body: None,
            complete: false,
        };
        RecordEntry { record: Arc::clone(self), request, hasher: DefaultHasher::new(), kept: Vec::new() }
    }
}

/// A request whose body is still arriving.
pub(super) struct RecordEntry {
    record: Arc<Record>,
    request: RecordedRequest,
    hasher: DefaultHasher,
    kept: Vec<u8>,
}

impl RecordEntry {
    pub(super) fn feed(&mut self, data: &[u8]) {
        self.request.body_len += data.len() as u64;
        self.hasher.write(data);
        let room = (BODY_KEPT_MAX + 1).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// Marks the body as complete.
    pub(super) fn complete(mut self) {
        self.request.complete = true;
    }
}

impl Drop for RecordEntry {
    fn drop(&mut self) {
        let mut request = self.request.clone();
        request.body_hash = self.hasher.finish();
        if self.kept.len() <= BODY_KEPT_MAX {
            request.body = Some(Bytes::from(std::mem::take(&mut self.kept)));
        }
        let mut requests = self.record.requests.lock();
        if requests.len() == REQUESTS_MAX {
            requests.pop_front();
        }
        requests.push_back(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let request = http::Request::post("/x?y=1").header("b", "1").header("a", "2").body(()).unwrap();
        request.into_parts().0
    }

    #[test]
    fn the_hash_does_not_depend_on_how_the_body_was_cut() {
        let record = Arc::new(Record::default());
        let body = vec![7_u8; 100_000];
        let mut entry = record.begin(&parts());
        body.chunks(777).for_each(|chunk| entry.feed(chunk));
        entry.complete();
        let requests = record.list();
        let request = requests.first().unwrap();
        assert_eq!((request.body_len, request.body_hash), (100_000, body_hash(&body)));
        assert_eq!((request.path.as_str(), request.header("a")), ("/x?y=1", Some("2")));
        assert!(request.complete && request.body.is_none());
    }

    #[test]
    fn the_record_is_bounded_and_keeps_small_bodies() {
        let record = Arc::new(Record::default());
        for number in 0..=REQUESTS_MAX {
            let mut entry = record.begin(&parts());
            entry.feed(number.to_string().as_bytes());
        }
        let requests = record.list();
        assert_eq!(requests.len(), REQUESTS_MAX);
        assert_eq!(requests[0].body.as_deref(), Some(b"1".as_slice()));
        assert!(!requests[0].complete);
    }
}
