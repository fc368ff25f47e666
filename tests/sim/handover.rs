//! The hand-over of slots in any order in which threads may take their turns (shuttle): the pool and its queue as they are.
//!
//! Every step on them is a critical section under the pool's lock, or one under the lock of a waiter's cell; shuttle decides which
//! thread takes the next one. It may also change threads between the end of a section and the wake-ups that follow it, where a
//! wake-up could get lost. Not covered: the inside of the sections, which the locks keep apart, and parking_lot itself.
//!
//! At each turn: no node has more than its cap; while somebody waits, none has less; who gets a slot is among those that
//! have waited longest. A waiter that nobody wakes is a deadlock, which shuttle reports.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use evenkeel::config::{self, Class, MaxInFlight};
use evenkeel::fleet::{Admission, Allow, Ask, Changed, Key, Lease, Pool, Profile, Refusal, Waiter, Want};
use evenkeel::outcome::Outcome;
use shuttle::rand::{Rng, thread_rng};
use shuttle::{future, thread};

use crate::fleet::Plan;

const CLIENTS: usize = 4;
const REQUESTS: usize = 2;

/// Another thread may have its turn before the wake-up.
struct Late(Waker);

impl Wake for Late {
    fn wake(self: Arc<Self>) {
        thread::yield_now();
        self.0.wake_by_ref();
    }
}

/// The choices of a model.
#[derive(Clone, Copy)]
struct Model {
    cap: usize,
    reserve: f64,
    /// All are of one class, so that their order is known; and nobody is repeated.
    is_fifo: bool,
    /// A thread changes the cap to one more, and back.
    reloads: bool,
    /// The pool is one of a cluster: a thread takes its credits and gives them back.
    credits: bool,
}

struct World {
    model: Model,
    pool: Arc<Pool>,
    now: Instant,
    /// Those that wait, in the order in which they came. No turn ends within its lock.
    line: Mutex<Vec<usize>>,
    /// Requests that are repeated, and want one node of the two.
    repeated: AtomicUsize,
}

fn conf(model: Model, cap: usize) -> config::Pool {
    let mut conf = Plan::calm(2, 1).conf;
    conf.health.max_fails = 0;
    conf.queue.reserve = model.reserve;
    conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(cap));
    conf
}

impl World {
    fn new(model: Model) -> Self {
        let now = Instant::now();
        let pool = Arc::new(Pool::new(&conf(model, model.cap), now));
        pool.join(model.credits.then(Arc::default).as_ref(), now);
        Self { model, pool, now, line: Mutex::new(Vec::new()), repeated: AtomicUsize::new(0) }
    }

    /// The rules that hold between any two turns.
    fn check(&self) {
        let seen = self.pool.snapshot(self.now);
        for node in &seen.nodes {
            let cap = node.max_in_flight.expect("a cap");
            let most = if self.model.reloads { self.model.cap as u32 + 1 } else { cap };
            assert!(node.in_flight <= most, "{} of {most}", node.in_flight);
            let cap = node.held.unwrap_or(cap);
            let [interactive, normal, batch] = seen.queue_by_class;
            let is_for_all = self.repeated.load(Ordering::Relaxed) == 0;
            if is_for_all && (interactive > 0 || self.model.reserve == 0.0 && normal + batch > 0) {
                assert!(node.in_flight >= cap, "a slot is free, and {:?} wait", seen.queue_by_class);
            }
        }
    }

    fn ask(&self, tried: &[Key], class: Class) -> Ask {
        let is_repeated = !tried.is_empty();
        Ask {
            want: Want::other_than(tried.to_vec()),
            admission: if is_repeated { Admission::Repeated } else { Admission::Below(usize::MAX) },
            profile: Profile { class, ..Profile::default() },
            news: self.pool.news(),
        }
    }

    /// A slot, unless the client leaves before it has one.
    fn lease(&self, client: usize, tried: &[Key]) -> Option<Lease> {
        let class = if self.model.is_fifo { Class::Normal } else { Class::ALL[thread_rng().gen_range(0..3)] };
        let mut waiter: Option<Box<Waiter>> = None;
        loop {
            let was_waiting = waiter.is_some();
            let found = self.pool.wait(&mut waiter, self.ask(tried, class), self.now);
            self.check();
            match found {
                Some(Ok(lease)) => {
                    if was_waiting {
                        self.leave_line(client, true);
                    }
                    return Some(lease);
                }
                Some(Err(Refusal::Full)) if !was_waiting => self.line.lock().expect("no panic").push(client),
                Some(Err(Refusal::Full)) => {}
                refused => panic!("{refused:?}"),
            }
            thread::yield_now();
            if thread_rng().gen_range(0..6) == 0 {
                drop(waiter);
                self.leave_line(client, false);
                return None;
            }
            sleep(waiter.as_ref().expect("a place").changed());
            self.check();
        }
    }

    fn leave_line(&self, client: usize, has_slot: bool) {
        let mut line = self.line.lock().expect("no panic");
        let place = line.iter().position(|other| *other == client).expect("it waits");
        if has_slot && self.model.is_fifo {
            let granted = line.len() - self.pool.snapshot(self.now).queue;
            assert!(place < granted, "{client} has a slot before {:?}", &line[..place]);
        }
        line.remove(place);
    }

    fn live(&self, client: usize) {
        for _ in 0..REQUESTS {
            let mut tried = Vec::new();
            while let Some(lease) = self.lease(client, &tried) {
                thread::yield_now();
                self.check();
                let is_repeated =
                    !self.model.is_fifo && tried.is_empty() && thread_rng().gen_range(0..3) == 0;
                if is_repeated {
                    tried.push(lease.key());
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                }
                match thread_rng().gen_range(0..3) {
                    0 => drop(lease),
                    1 => drop(lease.settle(Outcome::Reset, self.now)),
                    _ => drop(lease.settle(Outcome::Ok, self.now)),
                }
                self.check();
                thread::yield_now();
                if !is_repeated {
                    break;
                }
            }
            if !tried.is_empty() {
                self.repeated.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn reload(&self) {
        for more in [1, 0] {
            thread::yield_now();
            self.pool.configure(&conf(self.model, self.model.cap + more), self.now);
            self.check();
        }
    }

    /// Credits come and go, and come in the end.
    fn credit(&self) {
        let all = self.model.cap as u32;
        for held in [all, 0, all, all - 1, all] {
            thread::yield_now();
            let allow = Allow { held: Some(held), elsewhere: held };
            let allowed: Vec<_> = self.pool.shares(self.now).iter().map(|share| (share.key, allow)).collect();
            let really = self.pool.credit(&allowed, self.now);
            assert!(really.iter().all(|really| (held..=all).contains(really)), "{really:?} of {held}");
            self.check();
        }
    }
}

/// Sleeps until it has changed. Nothing else wakes it.
fn sleep(changed: Changed) {
    let mut changed = pin!(changed);
    future::block_on(poll_fn(|context| {
        let waker = Waker::from(Arc::new(Late(context.waker().clone())));
        // no turn ends here: one that ends by itself counts as woken
        changed.as_mut().poll(&mut Context::from_waker(&waker))
    }));
}

fn explore(model: Model) {
    let life = move || {
        let world = Arc::new(World::new(model));
        let mut threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.live(client))
            })
            .collect();
        if model.reloads {
            let world = Arc::clone(&world);
            threads.push(thread::spawn(move || world.reload()));
        }
        if model.credits {
            let world = Arc::clone(&world);
            threads.push(thread::spawn(move || world.credit()));
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(world.pool.is_idle() && world.pool.snapshot(world.now).queue == 0);
    };
    shuttle::check_random(life, 1500);
    shuttle::check_pct(life, 1500, 3);
}

const FIFO: Model = Model { cap: 1, reserve: 0.0, is_fifo: true, reloads: false, credits: false };

#[test]
fn nobody_is_forgotten_and_nobody_passes_another() {
    explore(FIFO);
}

#[test]
fn classes_retries_and_reloads_lose_nobody() {
    explore(Model { is_fifo: false, reloads: true, ..FIFO });
}

#[test]
fn a_reserve_loses_nobody() {
    explore(Model { cap: 2, reserve: 0.5, is_fifo: false, reloads: false, credits: false });
}

#[test]
fn credits_that_come_and_go_lose_nobody() {
    explore(Model { credits: true, ..FIFO });
    explore(Model { cap: 2, is_fifo: false, credits: true, ..FIFO });
}
