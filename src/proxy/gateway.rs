//! The state that the whole proxy shares: live fleet, access log, tracer, connections to the nodes.

use std::ops::Deref;
use std::sync::Arc;

use super::upstream::connections::Connections;
use crate::journal::{AccessLogWriter, announce};
use crate::journey::Journey;
use crate::live::Live;
use crate::tracer::Tracer;

/// The proxy of one process. Each request holds one: it is as small as it can be.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

/// The parts of a [`Gateway`].
pub struct Shared {
    pub live: Arc<Live>,
    pub log: AccessLogWriter,
    pub tracer: Tracer,
    pub connections: Arc<Connections>,
}

impl Gateway {
    pub fn new(live: Arc<Live>, log: AccessLogWriter, tracer: Tracer, connections: Arc<Connections>) -> Self {
        Self(Arc::new(Shared { live, log, tracer, connections }))
    }
}

impl Deref for Gateway {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Writes down what the journey has brought about.
pub(super) fn tell<H>(journey: &mut Journey<H>) {
    journey.take_events().iter().for_each(announce);
}
