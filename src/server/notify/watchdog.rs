//! The signs of life for a manager's watchdog: one is given only after each runtime that serves has done a task.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Gives signs of life so many times within the manager's limit.
const SIGNS: u32 = 2;

/// Gives a sign of life every half of `limit`, as long as all runtimes answer and `alive` says that the signs are wanted.
pub(super) fn run(limit: Duration, runtimes: &[Handle], alive: impl Fn() -> bool) {
    let every = limit / SIGNS;
    loop {
        let began = Instant::now();
        if !all_answer(runtimes) || !alive() {
            return;
        }
        thread::sleep(every.saturating_sub(began.elapsed()));
    }
}

/// Returns once each runtime has done a task: never, if one of them hangs. `false`: one has ended.
fn all_answer(runtimes: &[Handle]) -> bool {
    let (answer, answers) = channel();
    for runtime in runtimes {
        let answer = answer.clone();
        runtime.spawn(async move { answer.send(()) });
    }
    drop(answer);
    answers.iter().count() == runtimes.len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;

    use super::*;

    /// A runtime of one thread, as those that serve are, and the way to end it.
    fn serving() -> (Handle, oneshot::Sender<()>, thread::JoinHandle<()>) {
        let runtime: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel());
        let thread = thread::spawn(move || drop(runtime.block_on(stopped)));
        (handle, stop, thread)
    }

    #[test]
    fn one_runtime_that_hangs_withholds_the_sign_and_one_that_has_ended_ends_them() {
        let (first, _first_stop, _) = serving();
        let (second, second_stop, second_thread) = serving();
        let runtimes = [first, second.clone()];
        let (signs, limit) = (Arc::new(AtomicUsize::new(0)), Duration::from_millis(2));
        let (given, gives) = mpsc::sync_channel(0);
        let watched = thread::spawn({
            let signs = Arc::clone(&signs);
            move || {
                run(limit, &runtimes, || {
                    signs.fetch_add(1, Ordering::Relaxed);
                    given.send(()).is_ok()
                });
            }
        });
        for _ in 0..3 {
            gives.recv().expect("both answer");
        }
        // a task that does not come back, as a lock that is never free
        let (hanging, hangs) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        second.spawn(async move {
            let _ = hanging.send(());
            let _ = released.recv();
        });
        hangs.recv().expect("it hangs");
        // at most the one that was on its way
        let _ = gives.recv_timeout(Duration::from_millis(200));
        assert!(
            gives.recv_timeout(Duration::from_millis(200)).is_err(),
            "a sign of life of a gateway that hangs"
        );
        drop(release);
        gives.recv().expect("both answer again");
        drop(second_stop);
        second_thread.join().expect("it ends");
        while gives.recv().is_ok() {}
        watched.join().expect("there is nothing left to watch");
    }
}
