//! The state that the whole proxy shares: live fleet, access log, connections to the nodes.

use std::sync::Arc;

use super::upstream::connections::Connections;
use crate::journal::{AccessLogWriter, announce};
use crate::journey::Journey;
use crate::live::Live;
use crate::tracer::Tracer;

/// The proxy of one process.
#[derive(Clone)]
pub struct Gateway {
    pub live: Arc<Live>,
    pub log: AccessLogWriter,
    pub tracer: Tracer,
    pub connections: Arc<Connections>,
}

impl Gateway {
    pub fn new(live: Arc<Live>, log: AccessLogWriter, tracer: Tracer, connections: Arc<Connections>) -> Self {
        Self { live, log, tracer, connections }
    }
}

/// Writes down what the journey has brought about.
pub(super) fn tell<H>(journey: &mut Journey<H>) {
    journey.take_events().iter().for_each(announce);
}
