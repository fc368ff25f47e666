//! The simulated engine's step loop: one timer per node instead of one per sequence, so that a step of
//! thousands of streams costs one timer and one wake-up of each stream's task.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::batch::{Batch, Limits, Place, Refused, Token, Work};
use super::options::StepTimes;

/// A loop delayed by more than this (on a busy machine) skips the lost steps.
const LAG_MAX: Duration = Duration::from_millis(100);

/// The reason why a sequence gets no more tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All its tokens were generated.
    Done,
    /// The engine was told to stop: `finish_reason: "abort"`.
    Aborted,
    /// The node died.
    Lost,
}

/// A continuous-batching engine. Dropping it ends its loop.
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    batch: Mutex<Batch<Arc<Slot>>>,
    step: StepTimes,
    speed: AtomicU64,
    tokens: AtomicU64,
    most: AtomicU64,
    work: Notify,
    closed: AtomicBool,
}

/// The state of a sequence, shared by the loop and the reader.
#[derive(Default)]
struct Slot(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    granted: u32,
    /// Tokens of the prompt that were there when it came.
    cached: u32,
    end: Option<End>,
    waker: Option<Waker>,
    /// The number of tokens at which the reader is to be woken, if the end does not come first.
    wake_at: u32,
}

impl Slot {
    fn grant(&self, token: Token) -> Option<Waker> {
        let Token { last, cached } = token;
        let mut progress = self.0.lock();
        progress.granted += 1;
        progress.cached = cached;
        if last {
            progress.end = Some(End::Done);
        }
        if last || progress.granted >= progress.wake_at { progress.waker.take() } else { None }
    }

    fn finish(&self, end: End) -> Option<Waker> {
        let mut progress = self.0.lock();
        progress.end.get_or_insert(end);
        progress.waker.take()
    }
}

impl Engine {
    /// Starts the loop on the current tokio runtime.
    pub fn start(step: StepTimes, speed: f64, limits: Limits) -> Self {
        let inner = Arc::new(Inner {
            batch: Mutex::new(Batch::new(limits)),
            step,
            speed: AtomicU64::new(speed.to_bits()),
            tokens: AtomicU64::new(0),
            most: AtomicU64::new(0),
            work: Notify::new(),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(run(Arc::clone(&inner)));
        Engine { inner }
    }

    /// Adds a sequence.
    pub fn submit(&self, work: Work) -> Result<Sequence, Refused> {
        let tokens = work.tokens;
        let slot = Arc::new(Slot::default());
        let mut batch = self.inner.batch.lock();
        let at_once = tokens == 0 || (self.inner.step.is_instant() && batch.has_room());
        let place = if at_once && !work.hold {
            let mut progress = slot.0.lock();
            progress.granted = tokens;
            progress.end = Some(End::Done);
            self.inner.tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
            None
        } else {
            Some(batch.submit(Arc::clone(&slot), work)?)
        };
        let under_way = (batch.running() + batch.waiting()) as u64;
        self.inner.most.fetch_max(under_way, Ordering::Relaxed);
        drop(batch);
        if place.is_some() {
            self.inner.work.notify_one();
        }
        Ok(Sequence { inner: Arc::clone(&self.inner), slot, place })
    }

    /// Ends every sequence, running or waiting.
    pub fn end_all(&self, end: End) {
        let slots = self.inner.batch.lock().drain();
        for waker in slots.iter().filter_map(|slot| slot.finish(end)) {
            waker.wake();
        }
    }

    /// Sets the speed from the next step on: 1.0 is normal, 0.5 takes twice as long. Values not above 0 are ignored.
    pub fn set_speed(&self, speed: f64) {
        if speed > 0.0 && speed.is_finite() {
            self.inner.speed.store(speed.to_bits(), Ordering::Relaxed);
        }
    }

    /// The most sequences at one time so far, running or waiting. One is over before the end of its answer goes out.
    pub fn most(&self) -> u64 {
        self.inner.most.load(Ordering::Relaxed)
    }

    pub fn load(&self) -> Load {
        let batch = self.inner.batch.lock();
        Load {
            running: batch.running(),
            waiting: batch.waiting(),
            kv_usage: batch.kv_usage(),
            preemptions: batch.preemptions(),
        }
    }

    /// True if no sequence runs or waits.
    pub fn is_idle(&self) -> bool {
        let load = self.load();
        load.running == 0 && load.waiting == 0
    }

    /// Tokens generated so far.
    pub fn tokens(&self) -> u64 {
        self.inner.tokens.load(Ordering::Relaxed)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::Relaxed);
        self.inner.work.notify_one();
    }
}

/// The sequences of an engine, and its memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    pub running: usize,
    pub waiting: usize,
    /// The part of the memory for keys and values that is in use, from 0 to 1.
    pub kv_usage: f64,
    /// Sequences that were put back in line because that was full.
    pub preemptions: u64,
}

/// One request's place in the engine; dropping it frees the place at once.
pub struct Sequence {
    inner: Arc<Inner>,
    slot: Arc<Slot>,
    place: Option<Place>,
}

impl Sequence {
    /// The number of tokens after the first `seen`, `most` at a time or fewer at the end; and the end, with the last.
    pub fn poll_next(&self, cx: &mut Context<'_>, seen: u32, most: u32) -> Poll<(u32, Option<End>)> {
        let mut progress = self.slot.0.lock();
        let more = progress.granted.saturating_sub(seen);
        if let Some(end) = progress.end
            && more <= most
        {
            return Poll::Ready((more, Some(end)));
        }
        if more >= most {
            return Poll::Ready((most, None));
        }
        progress.poll_end(cx, seen + most).map(|end| (more, Some(end)))
    }

    /// Tokens of its prompt that were there when it came. Known with the first token.
    pub fn cached(&self) -> u32 {
        self.slot.0.lock().cached
    }

    /// Waits until all tokens are generated or the engine ends the sequence; returns the number of tokens.
    pub async fn finished(&self) -> (u32, End) {
        poll_fn(|cx| {
            let mut progress = self.slot.0.lock();
            let end = progress.poll_end(cx, u32::MAX);
            end.map(|end| (progress.granted, end))
        })
        .await
    }
}

impl Progress {
    fn poll_end(&mut self, cx: &mut Context<'_>, wake_at: u32) -> Poll<End> {
        if let Some(end) = self.end {
            return Poll::Ready(end);
        }
        self.wake_at = wake_at;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.inner.batch.lock().remove(place);
            // A waiting sequence may have moved up into a batch that had no work.
            self.inner.work.notify_one();
        }
    }
}

async fn run(inner: Arc<Inner>) {
    let mut due = Instant::now();
    let mut wakers = Vec::new();
    while !inner.closed.load(Ordering::Relaxed) {
        let Some(length) = inner.begin() else {
            inner.work.notified().await;
            due = Instant::now();
            continue;
        };
        let now = Instant::now();
        due = next_due(due, now, length);
        if due > now {
            sleep_until(due).await;
        } else {
            tokio::task::yield_now().await;
        }
        inner.end(&mut wakers);
        wakers.drain(..).for_each(Waker::wake);
    }
}

/// The time at which a step that starts now should end. Steps keep a schedule of their own, so that the
/// timer's granularity of 1 ms does not add up; after a long delay the schedule restarts.
fn next_due(previous: Instant, now: Instant, length: Duration) -> Instant {
    let start = if now.saturating_duration_since(previous) > LAG_MAX { now } else { previous };
    start.checked_add(length).unwrap_or(now + Duration::from_secs(86400))
}

impl Inner {
    fn begin(&self) -> Option<Duration> {
        let mut batch = self.batch.lock();
        if !batch.has_work() {
            return None;
        }
        let speed = f64::from_bits(self.speed.load(Ordering::Relaxed));
        Some(self.step.step(batch.begin_step(), speed))
    }

    fn end(&self, wakers: &mut Vec<Waker>) {
        let mut made = 0;
        self.batch.lock().end_step(|slot, token| {
            made += 1;
            wakers.extend(slot.grant(token));
        });
        self.tokens.fetch_add(made, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(step_ms: u64, max_seqs: usize) -> Engine {
        let step = StepTimes { base: Duration::from_millis(step_ms), ..StepTimes::default() };
        Engine::start(step, 1.0, Limits { max_seqs, ..Limits::default() })
    }

    fn sequences(engine: &Engine) -> (usize, usize) {
        let load = engine.load();
        (load.running, load.waiting)
    }

    #[test]
    fn the_schedule_makes_up_for_small_delays_only() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(next_due(start, start + ms(3), ms(20)), start + ms(20));
        assert_eq!(next_due(start, start + ms(300), ms(20)), start + ms(320));
    }

    #[tokio::test]
    async fn an_idle_instant_engine_answers_at_once() {
        let engine = engine(0, 4);
        let sequence = engine.submit(Work::answer(7)).unwrap();
        assert_eq!(sequence.finished().await, (7, End::Done));
        assert_eq!(sequences(&engine), (0, 0));
    }

    #[tokio::test]
    async fn each_step_gives_one_token_and_waiters_move_up() {
        let engine = engine(1, 1);
        let first = engine.submit(Work::answer(3)).unwrap();
        let second = engine.submit(Work::answer(2)).unwrap();
        assert_eq!(sequences(&engine), (1, 1));
        assert_eq!(poll_fn(|cx| first.poll_next(cx, 0, 1)).await, (1, None));
        assert_eq!(second.finished().await, (2, End::Done));
        assert_eq!(first.finished().await, (3, End::Done));
        assert_eq!(engine.tokens(), 5);
    }

    #[tokio::test]
    async fn a_reader_may_take_several_tokens_at_a_time() {
        let engine = engine(1, 1);
        let sequence = engine.submit(Work::answer(7)).unwrap();
        let mut taken = Vec::new();
        let mut seen = 0;
        loop {
            let (count, end) = poll_fn(|cx| sequence.poll_next(cx, seen, 3)).await;
            seen += count;
            taken.push((count, end));
            if end.is_some() {
                break;
            }
        }
        assert_eq!(taken, [(3, None), (3, None), (1, Some(End::Done))]);
    }

    #[tokio::test]
    async fn dropping_a_sequence_frees_its_slot_at_once() {
        let engine = engine(3_600_000, 1);
        let running = engine.submit(Work::answer(1)).unwrap();
        let waiting = engine.submit(Work::answer(1)).unwrap();
        drop(running);
        assert_eq!(sequences(&engine), (1, 0));
        drop(waiting);
        assert_eq!(sequences(&engine), (0, 0));
    }

    #[tokio::test]
    async fn a_waiter_behind_a_held_sequence_runs_when_it_goes() {
        let engine = engine(0, 1);
        let held = engine.submit(Work { hold: true, ..Work::answer(0) }).unwrap();
        let waiting = engine.submit(Work::answer(5)).unwrap();
        assert_eq!(sequences(&engine), (1, 1));
        drop(held);
        assert_eq!(waiting.finished().await, (5, End::Done));
    }

    #[tokio::test]
    async fn ending_all_wakes_the_readers() {
        let engine = engine(3_600_000, 1);
        let running = engine.submit(Work::answer(9)).unwrap();
        let waiting = engine.submit(Work::answer(9)).unwrap();
        let (reader, ()) = tokio::join!(running.finished(), async { engine.end_all(End::Aborted) });
        assert_eq!(reader, (0, End::Aborted));
        assert_eq!(waiting.finished().await, (0, End::Aborted));
    }
}
