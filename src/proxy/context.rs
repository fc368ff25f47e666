//! What Pingora's hooks know of one request, from stage to stage.

use std::sync::Arc;
use std::time::Instant;

use super::stock::Stock;
use crate::fleet::Fleet;
use crate::forwarded::Sender;
use crate::journey::Failure;
use crate::live::Share;

/// Where a request is.
pub enum Ctx {
    /// Until its body has been read and its pool is known, or it has been refused.
    Arriving(Arrival),
    /// On Pingora's own path.
    Stock(Box<Stock>),
    /// The relay has taken it along, and ends it too.
    Gone,
}

/// A request that has come.
pub struct Arrival {
    pub caller: Caller,
    pub refusal: Stopped,
}

/// Why it gets no further, if it does not.
#[derive(Debug, Default)]
pub enum Stopped {
    #[default]
    No,
    /// The client gets this.
    With(Failure),
    ClientGone,
}

/// Who asks, since when, and under which generation.
pub struct Caller {
    pub started: Instant,
    /// Counted as long as this lives.
    pub under_way: Option<Share>,
    /// The generation that the request keeps.
    pub fleet: Arc<Fleet>,
    pub sender: Option<Sender>,
    pub request_id: String,
}

impl Ctx {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        let caller = Caller {
            started: Instant::now(),
            under_way: None,
            fleet,
            sender: None,
            request_id: String::new(),
        };
        Self::Arriving(Arrival { caller, refusal: Stopped::No })
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
