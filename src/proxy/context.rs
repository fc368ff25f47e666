//! The context of one request for Pingora's hooks, from stage to stage.

use std::sync::Arc;

use super::caller::Arrival;
use super::stock::Stock;
use crate::fleet::Fleet;

/// The stage of a request, with what that stage needs.
pub enum Ctx {
    /// Until its body has been read and its pool is known, or it has been refused.
    Arriving(Arrival),
    /// On Pingora's own path.
    Stock(Box<Stock>),
    /// The relay has taken it along, and ends it too.
    Gone,
}

impl Ctx {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self::Arriving(Arrival::new(fleet))
    }

    pub fn arrival(&mut self) -> Option<&mut Arrival> {
        match self {
            Self::Arriving(arrival) => Some(arrival),
            Self::Stock(stock) => Some(&mut stock.arrival),
            Self::Gone => None,
        }
    }

    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Gone)
    }
}
