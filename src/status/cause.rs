//! A cause of what is seen, in words.

use std::sync::Arc;

use serde::Serialize;

/// A cause in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub severity: Severity,
    /// `None`: it is one of the gateway as a whole.
    pub pool: Option<Arc<str>>,
    /// `None`: it is one of the pool as a whole.
    pub node: Option<Arc<str>>,
    /// A sentence that names the node, without the pool.
    pub text: String,
}

/// The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Requests fail or wait, or a node is out.
    Bad,
    /// It costs speed, or will not go on for long.
    Warn,
    /// On its way to be well, or ordered so.
    Info,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}
