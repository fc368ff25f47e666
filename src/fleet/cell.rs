//! The place in which a waiting request finds its slot, and the future that it sleeps on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::key::Slot;
use super::want::Profile;

/// The place in which a waiting request finds its slot.
#[derive(Debug)]
pub(super) struct Cell {
    pub profile: Profile,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slot: Option<Slot>,
    has_news: bool,
    waker: Option<Waker>,
}

impl Cell {
    pub(super) fn of(profile: Profile) -> Self {
        Self { profile, state: Mutex::default() }
    }

    /// Hands the slot over. Returns whom to wake.
    pub(super) fn grant(&self, slot: Slot) -> Option<Waker> {
        let mut state = self.state.lock();
        state.slot = Some(slot);
        state.waker.take()
    }

    /// It is to look again.
    pub(super) fn tell(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.has_news = true;
        state.waker.take()
    }

    /// The slot, if it was granted. The news are old from now on.
    pub(super) fn take(&self) -> Option<Slot> {
        let mut state = self.state.lock();
        state.has_news = false;
        state.slot.take()
    }
}

/// Resolves when the request has a slot, or is to look again.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Changed(pub(super) Arc<Cell>);

impl Future for Changed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        if state.slot.is_some() || state.has_news {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
