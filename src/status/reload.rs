//! The result of reading a file again.

use std::time::SystemTime;

use serde::Serialize;

use super::time::text;

/// The result of the last reload; the first load counts as one.
#[derive(Clone, Debug)]
pub struct Reload {
    pub at: SystemTime,
    /// The problems with the file; the generation before it is still in use.
    pub error: Option<String>,
    pub failures: u64,
}

#[derive(Serialize)]
pub(super) struct LastReload {
    time: String,
    ok: bool,
    failures: u64,
    error: Option<String>,
}

impl LastReload {
    pub(super) fn of(reload: &Reload) -> Self {
        Self {
            time: text(reload.at),
            ok: reload.error.is_none(),
            failures: reload.failures,
            error: reload.error.clone(),
        }
    }
}
