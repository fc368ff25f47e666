//! The requests of a pool that have ended, as `/metrics` alone shows them.

use std::sync::Arc;

use super::finished::Finished;
use super::genai::GenAi;
use super::timings::Timings;
use crate::config::Class;

/// Counts since the process started; a reload does not reset them.
#[derive(Clone, Debug)]
pub struct Ended {
    pub pool: Arc<str>,
    /// In the order of [`Class::ALL`]. `None`: none of this class has ended.
    timings: [Option<Box<Timings>>; Class::ALL.len()],
    /// `None`: nothing has been counted by OpenTelemetry's names.
    pub genai: Option<Box<GenAi>>,
}

impl Ended {
    pub(crate) fn of(pool: Arc<str>) -> Self {
        Self { pool, timings: Default::default(), genai: None }
    }

    pub(crate) fn count(&mut self, ended: &Finished<'_>) {
        self.timings[ended.class.place()].get_or_insert_default().count(ended);
        if let Some(call) = ended.call {
            self.genai.get_or_insert_default().count(call, ended);
        }
    }

    /// Of each class of which requests have ended.
    pub fn timings(&self) -> impl Iterator<Item = (Class, &Timings)> {
        let all = Class::ALL.into_iter().zip(&self.timings);
        all.filter_map(|(class, timings)| Some((class, &**timings.as_ref()?)))
    }
}
