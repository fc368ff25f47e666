//! The response fields that tell a client how it was served: request id, node, attempts.

use std::borrow::Cow;

use super::caller::Caller;
use crate::balance::By;
use crate::classify::dialect::Shape;
use crate::forwarded::X_REQUEST_ID;

/// The request's id, and where the config says so the node and how many were asked.
pub(super) struct ServedBy<'a> {
    request_id: &'a str,
    node: &'a str,
    attempts: Cow<'static, str>,
    /// The reason for the node, unless it is the usual one.
    by: Option<By>,
    /// `server.response_headers`.
    tells_node: bool,
    /// The rest of the key's limits.
    limits: Vec<(&'static str, String)>,
}

/// The fields for a response's head.
pub(super) struct ServedFields<'a> {
    all: [(&'a str, &'a str); 4],
    count: usize,
    /// The same and the key's limits, if it has some.
    with_limits: Vec<(&'a str, &'a str)>,
}

impl<'a> ServedBy<'a> {
    /// `shape`: that of the request's dialect.
    pub(super) fn new(caller: &'a Caller, shape: Shape, node: &'a str, by: By, attempts: usize) -> Self {
        let attempts = if attempts == 1 { Cow::Borrowed("1") } else { Cow::Owned(attempts.to_string()) };
        let tells_node = caller.fleet.config.server.response_headers;
        let by = Some(by).filter(|by| *by != By::LeastInFlight);
        let limits = caller.limits(shape);
        Self { request_id: &caller.request_id, node, attempts, by, tells_node, limits }
    }

    pub(super) fn fields(&self) -> ServedFields<'_> {
        let all = [
            (X_REQUEST_ID, self.request_id),
            ("X-Evenkeel-Node", self.node),
            ("X-Evenkeel-Attempts", &self.attempts),
            ("X-Evenkeel-By", self.by.map_or("", By::as_str)),
        ];
        let count = match (self.tells_node, self.by) {
            (false, _) => 1,
            (true, None) => 3,
            (true, Some(_)) => 4,
        };
        let mut with_limits = Vec::new();
        if !self.limits.is_empty() {
            with_limits.extend_from_slice(&all[..count]);
            with_limits.extend(self.limits.iter().map(|(name, value)| (*name, value.as_str())));
        }
        ServedFields { all, count, with_limits }
    }
}

impl<'a> ServedFields<'a> {
    pub(super) fn as_slice(&self) -> &[(&'a str, &'a str)] {
        if self.with_limits.is_empty() { &self.all[..self.count] } else { &self.with_limits }
    }
}
