//! Keys of unlike demand before full nodes: simulated engines, closed loops of clients, the gateway's own journeys and queue.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use evenkeel::balance::tokens::Size;
use evenkeel::config::{MaxInFlight, Weight};
use evenkeel::fleet::{Flow, Member, Pool, Profile};
use evenkeel::journey::{Answered, Attempt, Continuity, Ending, Head, How, Journey, Seek, Step};
use evenkeel::retry::Repeat;
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Batch, Limits, Prompt, StepTimes, Work};
use fastrand::Rng;

use crate::fleet::Plan;

/// The clients of one key.
#[derive(Clone, Copy, Debug)]
struct Key {
    clients: usize,
    prompts: Sizes,
    answers: Sizes,
    /// From then to then it asks nothing.
    away: (f64, f64),
    /// Requests in all.
    requests: usize,
}

#[derive(Clone, Debug)]
struct Scene {
    keys: Vec<Key>,
    /// Requests that a node serves at a time.
    cap: usize,
    /// The gateway knows that cap; else a node says that it is full.
    is_told: bool,
    /// The gateway knows whose requests they are.
    knows_keys: bool,
    /// The requests tell how long their answers may be.
    limits: bool,
    until: f64,
    seed: u64,
}

const NODES: usize = 2;
const STEP: StepTimes = StepTimes {
    base: Duration::from_millis(20),
    per_seq: Duration::from_micros(100),
    per_prompt_token: Duration::from_micros(25),
};
const LIMITS: Limits = Limits {
    max_seqs: 0,
    max_queued: Some(0),
    kv_tokens: None,
    step_tokens: Some(2048),
    prefix_cache: false,
    by_priority: false,
};
const PROMPTS: Sizes = Sizes::Uniform { min: 100, max: 900 };
const ANSWERS: Sizes = Sizes::Uniform { min: 50, max: 350 };
const MANY: Key =
    Key { clients: 320, prompts: PROMPTS, answers: ANSWERS, away: (0.0, 0.0), requests: usize::MAX };
const FEW: Key = Key { clients: 32, ..MANY };

struct Request {
    key: usize,
    size: Size,
    work: Work,
    journey: Journey<u16>,
    attempt: Option<Attempt>,
    has_begun: bool,
    waits: bool,
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
    member: Member,
    start: Instant,
    now: f64,
    nodes: Vec<Node>,
    requests: Vec<Request>,
    woken: Arc<Woken>,
    asked: Vec<usize>,
    /// Waits that may be over then, in microseconds.
    looks: BTreeSet<(u64, usize)>,
    /// Clients that will ask again later.
    later: Vec<(f64, usize)>,
    waiting: Vec<usize>,
    rng: Vec<Rng>,
    seen: Seen,
}

/// Prompts' tokens and twice those of answers, as they are worked off.
#[derive(Clone, Debug, Default)]
struct Seen {
    all: f64,
    /// By key, while every key waits.
    contended: Vec<f64>,
    /// The same once those who were away are back.
    late: Vec<f64>,
    /// The time of all this, in seconds.
    contended_for: f64,
    ended: f64,
}

fn run(scene: &Scene) -> Seen {
    let mut conf = Plan::calm(NODES, 1).conf;
    conf.nodes.iter_mut().for_each(|node| {
        node.weight = Weight::Fixed(1.0);
        node.max_in_flight = if scene.is_told { MaxInFlight::Fixed(scene.cap) } else { MaxInFlight::Off };
    });
    conf.queue.timeout = Duration::from_secs(1_000_000);
    conf.retry.wait = conf.queue.timeout;
    let limits = Limits { max_seqs: scene.cap, ..LIMITS };
    let (start, count) = (Instant::now(), scene.keys.len());
    let pool = Arc::new(Pool::new(&conf, start));
    let mut run = Run {
        scene: scene.clone(),
        member: Member { conf: Arc::new(conf), pool },
        start,
        now: 0.0,
        nodes: (0..NODES).map(|_| Node { batch: Batch::new(limits), step_ends: None }).collect(),
        requests: Vec::new(),
        woken: Arc::default(),
        asked: vec![0; count],
        looks: BTreeSet::new(),
        later: Vec::new(),
        waiting: vec![0; count],
        rng: (0..count as u64).map(|key| Rng::with_seed(100 * scene.seed + key)).collect(),
        seen: Seen { contended: vec![0.0; count], late: vec![0.0; count], ..Seen::default() },
    };
    run.go();
    run.seen
}

impl Run {
    fn at(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    fn go(&mut self) {
        let clients: Vec<usize> = self.scene.keys.iter().map(|key| key.clients).collect();
        // in turns, or the first key would have all slots for a start
        for round in 0..clients.iter().copied().max().unwrap_or(0) {
            for (key, _) in clients.iter().enumerate().filter(|(_, clients)| round < **clients) {
                self.come(key);
            }
        }
        while self.now < self.scene.until {
            let ends = |(place, node): (usize, &Node)| node.step_ends.map(|at| (at, place));
            let step = self.nodes.iter().enumerate().filter_map(ends).min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((at, place)) = step else { break };
            if self.waiting.iter().all(|waiting| *waiting > 0) {
                self.seen.contended_for += at - self.now;
            }
            self.now = at;
            self.end_step(place);
            let back: Vec<_> = self.later.extract_if(.., |(until, _)| *until <= at).collect();
            back.into_iter().for_each(|(_, key)| self.come(key));
        }
        self.seen.ended = self.now;
    }

    /// A client's next request, unless its key is away.
    fn come(&mut self, key: usize) {
        let Key { prompts, answers, away: (from, to), requests, .. } = self.scene.keys[key];
        if (from..to).contains(&self.now) {
            self.later.push((to, key));
            return;
        }
        if self.asked[key] == requests {
            return;
        }
        self.asked[key] += 1;
        let rng = &mut self.rng[key];
        let (prompt, tokens) = (prompts.draw(rng), answers.draw(rng));
        let work = Work { prompt: Prompt::of_tokens(prompt), ..Work::answer(tokens) };
        let size = Size { prompt, limit: self.scene.limits.then_some(tokens) };
        let flow = self.scene.knows_keys.then(|| Flow::new(key as u64 + 1));
        let mut journey = Journey::new(self.member.clone(), true, Repeat::Allowed);
        journey.set_profile(Profile { flow, size, ..Profile::default() });
        let request = Request { key, size, work, journey, attempt: None, has_begun: false, waits: false };
        self.requests.push(request);
        self.look(self.requests.len() - 1);
    }

    fn look(&mut self, number: usize) {
        let at = self.at();
        loop {
            let request = &mut self.requests[number];
            let found = request.journey.seek(at);
            let waits = matches!(found, Seek::Wait { .. });
            self.waiting[request.key] += usize::from(waits);
            self.waiting[request.key] -= usize::from(std::mem::replace(&mut request.waits, waits));
            match found {
                Seek::Leased(attempt) => {
                    if self.send(number, attempt) {
                        return;
                    }
                }
                Seek::Wait { changed, until, .. } => {
                    let woken = Arc::clone(&self.woken);
                    let waker = Waker::from(Arc::new(WakerOf { request: number, woken }));
                    let polled = std::pin::pin!(changed).poll(&mut Context::from_waker(&waker));
                    if polled == Poll::Ready(()) {
                        continue;
                    }
                    let until = until.saturating_duration_since(self.start).as_micros() as u64;
                    self.looks.insert((until, number));
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// False: its node says that it is full.
    fn send(&mut self, number: usize, mut attempt: Attempt) -> bool {
        let (at, request) = (self.at(), &mut self.requests[number]);
        request.journey.send(&mut attempt, at);
        let place = usize::from(attempt.address().port()) - 1;
        let node = &mut self.nodes[place];
        if node.batch.submit(number, request.work.clone()).is_err() {
            let head = Head { status: 503, is_stream: false, retry_after: None };
            assert_eq!(request.journey.head(&mut attempt, head, at), Answered::HoldBack);
            let step = request.journey.end(attempt, How::Declined { fallback: Some(503) }, at);
            assert!(matches!(step, Step::Node(_)), "{step:?}");
            return false;
        }
        request.attempt = Some(attempt);
        if node.step_ends.is_none() {
            self.begin_step(place);
        }
        true
    }

    /// Those that were woken look again, and those whose time is over.
    fn wake(&mut self) {
        let now = (self.now * 1e6) as u64;
        while let Some((_, number)) = self.looks.pop_first_if(now) {
            if self.requests[number].waits {
                self.look(number);
            }
        }
        loop {
            let woken = std::mem::take(&mut *self.woken.0.lock().expect("one thread"));
            if woken.is_empty() {
                break;
            }
            for number in woken {
                if self.requests[number].waits {
                    self.look(number);
                }
            }
        }
    }

    fn begin_step(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let running = node.batch.has_work().then(|| node.batch.begin_step());
        node.step_ends = running.map(|running| self.now + STEP.step(running, 1.0).as_secs_f64());
    }

    fn end_step(&mut self, place: usize) {
        let (mut done, at) = (Vec::new(), self.at());
        let is_contended = self.waiting.iter().all(|waiting| *waiting > 0);
        let (requests, seen) = (&mut self.requests, &mut self.seen);
        let is_late = self.scene.keys.iter().all(|key| self.now >= key.away.1);
        self.nodes[place].batch.end_step(|number, token| {
            let Request { key, size, journey, attempt, has_begun, .. } = &mut requests[*number];
            let attempt = attempt.as_mut().expect("it is under way");
            let mut service = 2.0;
            if !std::mem::replace(has_begun, true) {
                journey.head(attempt, Head { status: 200, is_stream: true, retry_after: None }, at);
                journey.progress(attempt, at);
                journey.begin(Continuity::Never);
                attempt.spoke(0, at);
                service += f64::from(size.prompt);
            }
            attempt.worked(1, at);
            seen.all += service;
            seen.contended[*key] += if is_contended { service } else { 0.0 };
            seen.late[*key] += if is_contended && is_late { service } else { 0.0 };
            if token.last {
                done.push(*number);
            }
        });
        let mut again = Vec::new();
        for number in done {
            let request = &mut self.requests[number];
            let attempt = request.attempt.take().expect("it is under way");
            let step = request.journey.end(attempt, How::Whole, at);
            assert!(matches!(step, Step::Stop(Ending::Whole)), "{step:?}");
            again.push(request.key);
        }
        self.wake();
        again.into_iter().for_each(|key| self.come(key));
        self.wake();
        self.begin_step(place);
    }
}

/// The first of those that are due.
trait PopDue {
    fn pop_first_if(&mut self, now: u64) -> Option<(u64, usize)>;
}

impl PopDue for BTreeSet<(u64, usize)> {
    fn pop_first_if(&mut self, now: u64) -> Option<(u64, usize)> {
        let first = *self.first().filter(|(at, _)| *at <= now)?;
        self.remove(&first);
        Some(first)
    }
}

fn scene(keys: &[Key], seed: u64) -> Scene {
    Scene {
        keys: keys.to_vec(),
        cap: 12,
        is_told: true,
        knows_keys: true,
        limits: false,
        until: 1000.0,
        seed,
    }
}

/// The most that one key has above another, as a part of the latter's.
fn gap(served: &[f64]) -> f64 {
    let most = served.iter().copied().fold(0.0, f64::max);
    most / served.iter().copied().fold(f64::MAX, f64::min) - 1.0
}

/// The throughput beside that of first come, first served: of the same requests, because the engines do more of some kinds at a time
/// than of others.
fn throughput(scene: &Scene, requests: usize) -> f64 {
    let part = |key: &Key| if key.clients > FEW.clients { 1 } else { 3 };
    let requests = |key: &Key| Key { requests: requests / part(key), ..*key };
    let keys = scene.keys.iter().map(requests).collect();
    let fair = Scene { keys, until: f64::MAX, ..scene.clone() };
    let (seen, unordered) = (run(&fair), run(&Scene { knows_keys: false, ..fair.clone() }));
    assert_eq!(seen.all, unordered.all);
    unordered.ended / seen.ended
}

const LONG: Sizes = Sizes::Uniform { min: 200, max: 1000 };
const SHORT: Sizes = Sizes::Uniform { min: 10, max: 50 };

#[test]
fn ten_to_one_in_demand_is_one_to_one_in_service() {
    for (name, many, few) in [
        ("alike", MANY, FEW),
        ("the many ask for long answers", Key { answers: LONG, ..MANY }, Key { answers: SHORT, ..FEW }),
        ("the few ask for long answers", Key { answers: SHORT, ..MANY }, Key { answers: LONG, ..FEW }),
    ] {
        for (seed, limits) in [(1, false), (2, true)] {
            let scene = Scene { limits, ..scene(&[many, few], seed) };
            let seen = run(&scene);
            let unordered = run(&Scene { knows_keys: false, ..scene.clone() });
            let (gap, before) = (gap(&seen.contended), gap(&unordered.contended));
            let part = throughput(&scene, 3000);
            println!(
                "{name}, seed {seed}, limits {limits}: service differs by {:.2} % over {:.0} s (first come, first served {:.0} %), \
                 throughput {part:.4}",
                100.0 * gap,
                seen.contended_for,
                100.0 * before
            );
            assert!(seen.contended_for > 0.9 * scene.until, "{seen:?}");
            assert!(gap <= 0.05 && part >= 0.98, "{gap} {part}");
        }
    }
}

/// They wait in line for nodes that say they are full.
#[test]
fn those_in_line_take_turns_too() {
    for seed in 1..=2 {
        let scene =
            Scene { is_told: false, until: 300.0, ..scene(&[MANY, Key { answers: LONG, ..FEW }], seed) };
        let seen = run(&scene);
        let (gap, part) = (gap(&seen.contended), throughput(&scene, 600));
        println!("seed {seed}: in line {:.2} %, throughput {part:.4}: {seen:.0?}", 100.0 * gap);
        assert!(seen.contended_for > 0.9 * scene.until, "{seen:?}");
        assert!(gap <= 0.05 && part >= 0.98, "{gap} {part}");
    }
}

/// The one who was away has saved up nothing, and owes nothing.
#[test]
fn one_of_three_is_away_for_a_while() {
    for seed in 1..=3 {
        let away = Key { away: (200.0, 700.0), ..FEW };
        let scene = Scene { until: 1600.0, ..scene(&[MANY, Key { answers: LONG, ..FEW }, away], seed) };
        let seen = run(&scene);
        let (late, part) = (gap(&seen.late), throughput(&scene, 3000));
        println!("seed {seed}: after its return {:.2} %, throughput {part:.4}: {seen:.0?}", 100.0 * late);
        assert!(late <= 0.05 && part >= 0.98, "{late} {part}");
    }
}

/// Nobody waits, or one key alone does: every request ends when it would have.
#[test]
fn nobody_pays_while_nobody_contends() {
    for seed in 1..=3 {
        let alone = Scene { until: f64::MAX, ..scene(&[Key { requests: 2000, ..MANY }], seed) };
        let few = Key { clients: 12, requests: 1000, ..FEW };
        let apart = Scene { until: f64::MAX, ..scene(&[few, few], seed) };
        for scene in [alone, apart] {
            let (seen, unordered) = (run(&scene), run(&Scene { knows_keys: false, ..scene.clone() }));
            println!("seed {seed}: {:.6} s and {:.6} s", seen.ended, unordered.ended);
            assert_eq!((seen.ended, seen.all), (unordered.ended, unordered.all));
        }
    }
}
