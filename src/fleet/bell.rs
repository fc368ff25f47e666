//! The bell by which pools tell the exchange of credits that it is wanted at once.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Rung when a request begins to wait, or a slot comes back that is to go to another gateway. However often it is rung before
/// somebody listens, it is heard once.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let waker = self.waker.lock().take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Resolves when it has been rung since it was last heard. One at a time may listen.
    pub fn rung(&self) -> Rung<'_> {
        Rung(self)
    }

    fn hear(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

/// See [`Bell::rung`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Rung<'a>(&'a Bell);

impl Future for Rung<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.hear() {
            return Poll::Ready(());
        }
        *self.0.waker.lock() = Some(context.waker().clone());
        // it may have been rung before the waker was there
        if self.0.hear() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn rings_are_heard_once_and_none_is_lost() {
        let (bell, woken) = (Bell::default(), Arc::new(Count::default()));
        let waker = Arc::clone(&woken).into();
        let mut context = Context::from_waker(&waker);
        let mut poll = || pin!(bell.rung()).poll(&mut context);
        assert_eq!(poll(), Poll::Pending);
        (0..3).for_each(|_| bell.ring());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!((poll(), poll()), (Poll::Ready(()), Poll::Pending));
        bell.ring();
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(poll(), Poll::Ready(()));
        bell.ring();
        assert_eq!(poll(), Poll::Ready(()), "rung while nobody slept");
    }
}
