//! The progress of a certificate that the gateway gets by itself.

use std::time::SystemTime;

/// A certificate of 90 days is renewed so many days before its end: one that cannot be is told from then on.
pub const NEAR_DAYS: u64 = 30;

/// The attempts to get a certificate from an ACME server, as views show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// There is none yet: one that the gateway has signed itself stands in.
    pub is_pending: bool,
    /// The reason why the last attempt came to nothing; `None`: it succeeded, or there was none.
    pub last_error: Option<String>,
    pub last_success: Option<SystemTime>,
    /// Attempts that came to nothing.
    pub failures: u64,
    pub next_attempt: Option<SystemTime>,
}
