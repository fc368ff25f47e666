//! Simulated engines under a batch job or a steady load, in virtual time: the steps of `evenkeel::sim::Engine` without
//! its clock.

use std::collections::VecDeque;

use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Batch, Limits, Prompt, StepTimes, Work};
use fastrand::Rng;

/// The way in which the gateway comes to know what a request was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// One event a token.
    Stream,
    /// A whole answer, with its number of tokens.
    Usage,
    /// A whole answer without it.
    Nothing,
}

/// An incident at a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Speed(f64),
    Crash,
    Start,
}

/// The engines, the job, and who asks.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub speeds: Vec<f64>,
    pub step: StepTimes,
    pub limits: Limits,
    /// Tokens of the prompts, if they cost anything.
    pub prompts: Option<Sizes>,
    /// A part of the requests is of another kind.
    pub others: Option<Others>,
    /// The number of requests, if that is what ends it.
    pub requests: usize,
    pub until: f64,
    pub at_once: usize,
    pub sizes: Sizes,
    pub told: Told,
    /// In the order of their times.
    pub changes: Vec<(f64, usize, Change)>,
    pub seed: u64,
}

/// Requests of another kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    pub part: f64,
    pub prompts: Sizes,
    pub sizes: Sizes,
}

/// Decides where each request goes, and hears what becomes of it.
pub(crate) trait Dispatch {
    /// The node for this request; `None`: it waits until another one ends.
    fn place(&mut self, request: usize, nodes: &[Node], now: f64) -> Option<usize>;
    /// A new request. Engines stop at the number of tokens that it allows.
    fn asks(&mut self, _request: usize, _prompt: u32, _tokens: u32) {}
    /// Streams only.
    fn token(&mut self, _request: usize, _now: f64) {}
    fn done(&mut self, _request: usize, _tokens: u32, _now: f64) {}
    /// The node refused it, or died with it.
    fn lost(&mut self, _request: usize, _refused: bool, _now: f64) {}
    fn tick(&mut self, _nodes: &[Node], _now: f64) {}
}

pub(crate) struct Node {
    batch: Batch<usize>,
    step_ends: Option<f64>,
    pub speed: f64,
    pub is_up: bool,
    pub in_flight: usize,
}

/// The result.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub wall: f64,
    pub p99: f64,
    /// Of the time to the first token, from when the client asks.
    pub ttft_p99: f64,
    /// The same without the requests of another kind.
    pub usual_ttft_p99: f64,
    /// Times that a node's memory was full.
    pub preemptions: u64,
}

const TICK: f64 = 0.1;

struct Request {
    began: f64,
    prompt: u32,
    tokens: u32,
    node: usize,
    is_other: bool,
    /// It has its first token.
    has_begun: bool,
}

struct Run<'a, D> {
    scene: &'a Scene,
    dispatch: &'a mut D,
    nodes: Vec<Node>,
    requests: Vec<Request>,
    /// Those that have no node (any more), before new ones are made.
    waiting: VecDeque<usize>,
    open: usize,
    took: Vec<f64>,
    ttft: Vec<f64>,
    usual_ttft: Vec<f64>,
    changes: VecDeque<(f64, usize, Change)>,
    rng: Rng,
    now: f64,
}

/// Runs the scene to its end.
pub(crate) fn run<D: Dispatch>(scene: &Scene, dispatch: &mut D) -> Outcome {
    let node = |speed: &f64| Node {
        batch: Batch::new(scene.limits),
        step_ends: None,
        speed: *speed,
        is_up: true,
        in_flight: 0,
    };
    let mut run = Run {
        scene,
        dispatch,
        nodes: scene.speeds.iter().map(node).collect(),
        requests: Vec::new(),
        waiting: VecDeque::new(),
        open: 0,
        took: Vec::new(),
        ttft: Vec::new(),
        usual_ttft: Vec::new(),
        changes: scene.changes.iter().copied().collect(),
        rng: Rng::with_seed(scene.seed),
        now: 0.0,
    };
    run.go();
    let preemptions = run.nodes.iter().map(|node| node.batch.preemptions()).sum();
    Outcome {
        wall: run.now,
        p99: p99(&mut run.took),
        ttft_p99: p99(&mut run.ttft),
        usual_ttft_p99: p99(&mut run.usual_ttft),
        preemptions,
    }
}

fn p99(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(0.0)
}

impl<D: Dispatch> Run<'_, D> {
    fn go(&mut self) {
        let mut tick = TICK;
        loop {
            self.hand_out();
            if (self.open == 0 && self.waiting.is_empty()) || self.now >= self.scene.until {
                return;
            }
            let ends = |(i, node): (usize, &Node)| node.step_ends.map(|at| (at, i));
            let step = self.nodes.iter().enumerate().filter_map(ends).min_by(|a, b| a.0.total_cmp(&b.0));
            match step {
                Some((at, node)) if at < tick => {
                    self.now = at;
                    self.end_step(node);
                }
                _ => {
                    self.now = tick;
                    tick += TICK;
                    self.change();
                    self.dispatch.tick(&self.nodes, self.now);
                }
            }
        }
    }

    /// Gives requests to nodes until none can be placed. Each client that has no request asks at once.
    fn hand_out(&mut self) {
        self.ask();
        while let Some(request) = self.waiting.pop_front() {
            let Some(place) = self.dispatch.place(request, &self.nodes, self.now) else {
                self.waiting.push_front(request);
                return;
            };
            let node = &mut self.nodes[place];
            if !node.is_up {
                self.waiting.push_front(request);
                self.dispatch.lost(request, true, self.now);
                continue;
            }
            self.requests[request].node = place;
            self.open += 1;
            node.in_flight += 1;
            let Request { prompt, tokens, .. } = self.requests[request];
            let work = Work { prompt: Prompt::of_tokens(prompt), ..Work::answer(tokens) };
            node.batch.submit(request, work).expect("the line has no end");
            if node.step_ends.is_none() {
                self.begin_step(place);
            }
        }
    }

    fn ask(&mut self) {
        while self.open + self.waiting.len() < self.scene.at_once && self.requests.len() < self.scene.requests
        {
            let scene = self.scene;
            let other = scene.others.filter(|others| self.rng.f64() < others.part);
            let sizes = other.map_or(scene.sizes, |other| other.sizes);
            let prompts = other.map(|other| other.prompts).or(scene.prompts);
            let tokens = sizes.draw(&mut self.rng);
            let prompt = prompts.map_or(0, |sizes| sizes.draw(&mut self.rng));
            self.dispatch.asks(self.requests.len(), prompt, tokens);
            self.waiting.push_back(self.requests.len());
            let is_other = other.is_some();
            self.requests.push(Request {
                began: self.now,
                prompt,
                tokens,
                node: 0,
                is_other,
                has_begun: false,
            });
        }
    }

    fn begin_step(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let running = node.batch.has_work().then(|| node.batch.begin_step());
        let length = running.map(|running| self.scene.step.step(running, node.speed).as_secs_f64());
        node.step_ends = length.map(|length| self.now + length);
    }

    fn end_step(&mut self, place: usize) {
        let mut done = Vec::new();
        let now = self.now;
        let streams = self.scene.told == Told::Stream;
        let dispatch = &mut *self.dispatch;
        let (requests, ttft, usual) = (&mut self.requests, &mut self.ttft, &mut self.usual_ttft);
        self.nodes[place].batch.end_step(|request, token| {
            if !std::mem::replace(&mut requests[*request].has_begun, true) {
                let Request { began, is_other, .. } = requests[*request];
                ttft.push(now - began);
                usual.extend((!is_other).then_some(now - began));
            }
            if streams {
                dispatch.token(*request, now);
            }
            if token.last {
                done.push(*request);
            }
        });
        for request in done {
            self.nodes[place].in_flight -= 1;
            self.open -= 1;
            self.took.push(now - self.requests[request].began);
            self.dispatch.done(request, self.requests[request].tokens, now);
        }
        // the next step begins with those that are handed out now
        self.hand_out();
        self.begin_step(place);
    }

    fn change(&mut self) {
        while let Some((_, place, change)) = self.changes.pop_front_if(|(at, ..)| *at <= self.now) {
            let node = &mut self.nodes[place];
            match change {
                Change::Speed(speed) => node.speed = speed,
                Change::Start => node.is_up = true,
                Change::Crash => {
                    node.is_up = false;
                    node.step_ends = None;
                    node.in_flight = 0;
                    for request in node.batch.drain() {
                        self.open -= 1;
                        self.dispatch.lost(request, false, self.now);
                        self.waiting.push_back(request);
                    }
                }
            }
        }
    }
}
