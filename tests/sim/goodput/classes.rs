//! Interactive requests beside a batch that takes all there is: simulated engines behind the gateway's own pool and queue.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use evenkeel::config::{Class, MaxInFlight, Weight};
use evenkeel::fleet::{Admission, Ask, Lease, Pool, Profile, Refusal, Waiter, Want};
use evenkeel::outcome::Outcome;
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Batch, Limits, Prompt, StepTimes, Work};
use fastrand::Rng;

use crate::fleet::Plan;

/// The fleet, the batch and those who come beside it.
#[derive(Clone, Copy, Debug)]
struct Scene {
    nodes: usize,
    limits: Limits,
    cap: Option<usize>,
    reserve: f64,
    /// Requests of the batch in all, and at a time.
    batch: usize,
    clients: usize,
    /// Interactive requests a second.
    rate: f64,
    seed: u64,
}

const STEP: StepTimes = StepTimes {
    base: Duration::from_millis(20),
    per_seq: Duration::from_micros(100),
    per_prompt_token: Duration::from_micros(25),
};

struct Request {
    class: Class,
    began: f64,
    work: Work,
    ttft: Option<f64>,
    lease: Option<Lease>,
    waiter: Option<Box<Waiter>>,
}

struct Node {
    batch: Batch<usize>,
    step_ends: Option<f64>,
}

/// The requests that were woken.
#[derive(Default)]
struct Woken(Mutex<Vec<usize>>);

struct WakerOf {
    request: usize,
    woken: Arc<Woken>,
}

impl Wake for WakerOf {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().expect("one thread").push(self.request);
    }
}

struct Run {
    scene: Scene,
    pool: Arc<Pool>,
    start: Instant,
    now: f64,
    nodes: Vec<Node>,
    requests: Vec<Request>,
    woken: Arc<Woken>,
    batch_left: usize,
    batch_open: usize,
    /// The batch's prompts and answers do not depend on when others come.
    batch_rng: Rng,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Outcomes {
    makespan: f64,
    ttft_p50: f64,
    ttft_p99: f64,
    interactive: usize,
}

/// Runs until the batch is over; one without a batch for so long.
fn run(scene: Scene, idle_for: f64) -> Outcomes {
    let mut conf = Plan::calm(scene.nodes, 1).conf;
    conf.nodes.iter_mut().for_each(|node| {
        node.weight = Weight::Fixed(1.0);
        node.max_in_flight = scene.cap.map_or(MaxInFlight::Off, MaxInFlight::Fixed);
    });
    conf.queue.reserve = scene.reserve;
    let start = Instant::now();
    let node = |_| Node { batch: Batch::new(scene.limits), step_ends: None };
    let mut run = Run {
        scene,
        pool: Arc::new(Pool::new(&conf, start)),
        start,
        now: 0.0,
        nodes: (0..scene.nodes).map(node).collect(),
        requests: Vec::new(),
        woken: Arc::default(),
        batch_left: scene.batch,
        batch_open: 0,
        batch_rng: Rng::with_seed(scene.seed),
        rng: Rng::with_seed(scene.seed + 1000),
    };
    run.go(idle_for);
    let of_class = run.requests.iter().filter(|request| request.class == Class::Interactive);
    let mut ttft: Vec<_> = of_class.filter_map(|request| request.ttft).collect();
    ttft.sort_by(f64::total_cmp);
    let part = |part: usize| ttft.get(ttft.len() * part / 100).copied().unwrap_or(0.0);
    Outcomes { makespan: run.now, ttft_p50: part(50), ttft_p99: part(99), interactive: ttft.len() }
}

impl Run {
    fn at(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    fn go(&mut self, idle_for: f64) {
        let mut next_comes = self.pause();
        for _ in 0..self.scene.clients {
            self.next_of_batch();
        }
        while self.batch_open > 0 || self.scene.batch == 0 && self.now < idle_for {
            let ends = |(place, node): (usize, &Node)| node.step_ends.map(|at| (at, place));
            let step = self.nodes.iter().enumerate().filter_map(ends).min_by(|a, b| a.0.total_cmp(&b.0));
            match step {
                Some((at, place)) if at <= next_comes => {
                    self.now = at;
                    self.end_step(place);
                }
                _ => {
                    self.now = next_comes;
                    next_comes += self.pause();
                    let prompt = Sizes::Uniform { min: 200, max: 4000 }.draw(&mut self.rng);
                    let tokens = Sizes::Uniform { min: 50, max: 250 }.draw(&mut self.rng);
                    self.come(Class::Interactive, prompt, tokens);
                }
            }
        }
    }

    /// Until the next interactive request: they come independently of each other.
    fn pause(&mut self) -> f64 {
        if self.scene.rate == 0.0 { f64::MAX } else { -(1.0 - self.rng.f64()).ln() / self.scene.rate }
    }

    fn next_of_batch(&mut self) {
        if self.batch_left > 0 {
            self.batch_left -= 1;
            self.batch_open += 1;
            let prompt = Sizes::Uniform { min: 600, max: 1400 }.draw(&mut self.batch_rng);
            let tokens = Sizes::Uniform { min: 200, max: 1000 }.draw(&mut self.batch_rng);
            self.come(Class::Batch, prompt, tokens);
        }
    }

    fn come(&mut self, class: Class, prompt: u32, tokens: u32) {
        let priority = if class == Class::Interactive { -10 } else { 10 };
        let work = Work { prompt: Prompt::of_tokens(prompt), priority, ..Work::answer(tokens) };
        let began = self.now;
        self.requests.push(Request { class, began, work, ttft: None, lease: None, waiter: None });
        self.look(self.requests.len() - 1);
    }

    /// Asks the pool for a slot, or for the one that was granted.
    fn look(&mut self, number: usize) {
        let at = self.at();
        let request = &mut self.requests[number];
        let ask = Ask {
            want: Want::other_than(Vec::new()),
            admission: Admission::Below(usize::MAX),
            profile: Profile { class: request.class, ..Profile::default() },
            news: self.pool.news(),
        };
        match self.pool.wait(&mut request.waiter, ask, at) {
            Some(Ok(lease)) => {
                let place = usize::from(lease.address().port()) - 1;
                request.lease = Some(lease);
                let node = &mut self.nodes[place];
                node.batch.submit(number, request.work.clone()).expect("the line has no end");
                if node.step_ends.is_none() {
                    self.begin_step(place);
                }
            }
            Some(Err(Refusal::Full)) => {
                let waker =
                    Waker::from(Arc::new(WakerOf { request: number, woken: Arc::clone(&self.woken) }));
                let changed = request.waiter.as_ref().expect("a place").changed();
                let polled = std::pin::pin!(changed).poll(&mut Context::from_waker(&waker));
                assert_eq!(polled, Poll::Pending);
            }
            refused => panic!("{refused:?}"),
        }
    }

    fn begin_step(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let running = node.batch.has_work().then(|| node.batch.begin_step());
        node.step_ends = running.map(|running| self.now + STEP.step(running, 1.0).as_secs_f64());
    }

    fn end_step(&mut self, place: usize) {
        let (mut done, now, requests) = (Vec::new(), self.now, &mut self.requests);
        self.nodes[place].batch.end_step(|number, token| {
            let request = &mut requests[*number];
            request.ttft.get_or_insert(now - request.began);
            if token.last {
                done.push(*number);
            }
        });
        for number in done {
            let at = self.at();
            let lease = self.requests[number].lease.take().expect("it is under way");
            lease.good_head(at);
            lease.settle(Outcome::Ok, at);
            if self.requests[number].class == Class::Batch {
                self.batch_open -= 1;
                self.next_of_batch();
            }
        }
        loop {
            let woken = std::mem::take(&mut *self.woken.0.lock().expect("one thread"));
            if woken.is_empty() {
                break;
            }
            woken.into_iter().for_each(|number| self.look(number));
        }
        self.begin_step(place);
    }
}

/// Memory for about sixty sequences a node.
const LIMITS: Limits = Limits {
    max_seqs: 256,
    max_queued: None,
    kv_tokens: Some(80 * 1024),
    step_tokens: Some(2048),
    prefix_cache: false,
    by_priority: false,
};

const SCENE: Scene = Scene {
    nodes: 2,
    limits: LIMITS,
    cap: Some(48),
    reserve: 0.0,
    batch: 4000,
    clients: 384,
    rate: 0.3,
    seed: 1,
};

/// The same requests without the others.
struct Apart {
    batch: Outcomes,
    interactive: Outcomes,
}

impl Apart {
    fn of(scene: Scene) -> Self {
        let batch = run(Scene { rate: 0.0, reserve: 0.0, ..scene }, 0.0);
        let interactive = run(Scene { batch: 0, clients: 0, ..scene }, 2.0 * batch.makespan);
        Self { batch, interactive }
    }

    /// Of the first token's p99 on an idle fleet, and of the time that the batch takes alone.
    fn ratios(&self, scene: Scene) -> (f64, f64) {
        let got = run(scene, 0.0);
        let (ttft, makespan) = (got.ttft_p99 / self.interactive.ttft_p99, got.makespan / self.batch.makespan);
        println!(
            "reserve {}, cap {:?}, by priority {}, seed {}: first token p50 {:.3} s, p99 {:.3} s of {} requests: {ttft:.2} of an idle \
             fleet's {:.3} s; batch {:.1} s: {makespan:.3} of {:.1} s",
            scene.reserve,
            scene.cap,
            scene.limits.by_priority,
            scene.seed,
            got.ttft_p50,
            got.ttft_p99,
            got.interactive,
            self.interactive.ttft_p99,
            got.makespan,
            self.batch.makespan,
        );
        (ttft, makespan)
    }
}

/// Two slots of each 48 are kept for those who come once in three seconds.
#[test]
fn with_a_reserve_neither_notices_the_other() {
    for seed in 1..=3 {
        let scene = Scene { seed, ..SCENE };
        let apart = Apart::of(scene);
        let (without, _) = apart.ratios(scene);
        let (ttft, makespan) = apart.ratios(Scene { reserve: 0.04, ..scene });
        assert!(ttft <= 1.5 && makespan <= 1.10, "{ttft} {makespan}");
        assert!(without > 1.5, "a slot comes back too slowly: {without}");
    }
}

/// An engine that lets in by priority, and takes no memory back for that: who comes goes first, but waits until some is free.
#[test]
fn engines_that_order_by_themselves_need_a_cap_all_the_same() {
    let free = Scene { cap: None, ..SCENE };
    let apart = Apart::of(free);
    let (unordered, _) = apart.ratios(free);
    let (ordered, makespan) = apart.ratios(Scene { limits: Limits { by_priority: true, ..LIMITS }, ..free });
    assert!(ordered < unordered / 5.0 && makespan <= 1.10, "{ordered} of {unordered}, {makespan}");
    let capped = Scene { limits: Limits { by_priority: true, ..LIMITS }, reserve: 0.04, ..SCENE };
    let (ttft, makespan) = Apart::of(capped).ratios(capped);
    assert!(ttft <= 1.5 && makespan <= 1.10, "{ttft} {makespan}");
}
