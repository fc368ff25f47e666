//! Default values of whole config sections.
//!
//! Each is the schema applied to an empty section, so that a default is written in only one place.

use super::class::Deadline;
use super::model::{Affinity, Client, Engine, Health, Queue, Retry, Timeouts};
use super::problems::Collector;
use super::section::Section;
use super::{affinity, pools, queue, server};

fn of_nothing<T>(read: impl FnOnce(&mut Section) -> T) -> T {
    read(&mut Section::empty("", 0, &Collector::default()))
}

impl Default for Client {
    fn default() -> Self {
        of_nothing(server::client)
    }
}

impl Default for Health {
    fn default() -> Self {
        of_nothing(|s| pools::health(s, Engine::Generic))
    }
}

impl Default for Retry {
    fn default() -> Self {
        of_nothing(|s| pools::retry(s, Engine::Generic))
    }
}

impl Default for Queue {
    fn default() -> Self {
        of_nothing(|s| queue::queue(s, Engine::Generic))
    }
}

impl Default for Deadline {
    fn default() -> Self {
        of_nothing(queue::deadline)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        of_nothing(pools::timeouts)
    }
}

impl Default for Affinity {
    fn default() -> Self {
        of_nothing(affinity::affinity)
    }
}
