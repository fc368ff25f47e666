//! Chats on engines with a prefix cache, in virtual time: how much of each prompt is there already, and how even the load is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::config::Balance;
use evenkeel::fleet::{Lease, Pool, Profile};
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Batch, Limits, Prompt, StepTimes, Work};
use fastrand::Rng;

use crate::fleet::Plan;

const TURNS: usize = 10;
/// Tokens of the system prompt that all chats share.
const SYSTEM: u32 = 6000;
/// Tokens that a turn adds to the prompt: the answer to the one before, and what the user says to it.
const TURN: [u32; 2] = [80, 240];
const ANSWER: [u32; 2] = [20, 60];
/// Milliseconds between an answer and the next turn.
const THOUGHT: [u32; 2] = [100, 900];
const BLOCK: u32 = 16;

/// A job of chats.
#[derive(Clone, Copy)]
struct Scene {
    balance: Balance,
    nodes: usize,
    chats: usize,
    at_once: usize,
    /// All chats have the same key.
    has_one_key: bool,
    /// Memory of each node.
    kv_tokens: u32,
}

/// The result of a job.
#[derive(Debug, Default)]
struct Seen {
    /// Tokens of prompts that were there.
    hits: f64,
    /// Those that would have been there in one cache for all, without an end.
    ideal: f64,
    /// Requests in flight on each node, times seconds.
    loads: Vec<f64>,
    /// Seconds.
    wall: f64,
}

impl Seen {
    fn part_of_ideal(&self) -> f64 {
        self.hits / self.ideal
    }

    /// The coefficient of variation of the nodes' mean load.
    fn variation(&self) -> f64 {
        let count = self.loads.len() as f64;
        let mean = self.loads.iter().sum::<f64>() / count;
        let square = self.loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / count;
        square.sqrt() / mean
    }
}

struct Engine {
    batch: Batch<usize>,
    step_ends: Option<f64>,
    in_flight: f64,
}

#[derive(Clone)]
struct Chat {
    turn: usize,
    tokens: u32,
    before: u32,
}

struct Run {
    scene: Scene,
    pool: Arc<Pool>,
    began: Instant,
    engines: Vec<Engine>,
    chats: Vec<Chat>,
    /// Chats whose users think, each with the time of its next turn.
    thinking: Vec<(f64, usize)>,
    leases: HashMap<usize, Lease>,
    rng: Rng,
    now: f64,
    seen: Seen,
}

fn draw(rng: &mut Rng, [least, most]: [u32; 2]) -> u32 {
    rng.u32(least..=most)
}

/// The order of the ids of a chat; the first ones are everybody's.
fn prompt(chat: usize, tokens: u32) -> Prompt {
    let own = u32::try_from(chat + 1).expect("a few chats") << 16;
    Prompt::of_ids((0..tokens).map(|place| if place < SYSTEM { place } else { own + place }))
}

impl Run {
    fn new(scene: Scene) -> Self {
        let mut conf = Plan::calm(scene.nodes, 1).conf;
        conf.balance = scene.balance;
        let limits = Limits {
            kv_tokens: Some(scene.kv_tokens),
            step_tokens: Some(8192),
            prefix_cache: true,
            ..Limits::default()
        };
        let engine = |_| Engine { batch: Batch::new(limits), step_ends: None, in_flight: 0.0 };
        let began = Instant::now();
        Self {
            scene,
            pool: Arc::new(Pool::new(&conf, began)),
            began,
            engines: (0..scene.nodes).map(engine).collect(),
            chats: Vec::new(),
            thinking: Vec::new(),
            leases: HashMap::new(),
            rng: Rng::with_seed(7),
            now: 0.0,
            seen: Seen { loads: vec![0.0; scene.nodes], ..Seen::default() },
        }
    }

    fn go(mut self) -> Seen {
        loop {
            self.open_chats();
            let ends = |(place, engine): (usize, &Engine)| engine.step_ends.map(|at| (at, Some(place)));
            let steps = self.engines.iter().enumerate().filter_map(ends);
            let thoughts = self.thinking.iter().map(|(at, _)| (*at, None));
            let Some((at, place)) = steps.chain(thoughts).min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
            for (load, engine) in self.seen.loads.iter_mut().zip(&self.engines) {
                *load += engine.in_flight * (at - self.now);
            }
            self.now = at;
            match place {
                Some(place) => self.end_step(place),
                None => self.end_thoughts(),
            }
        }
        self.seen.wall = self.now;
        self.seen
    }

    fn at(&self) -> Instant {
        self.began + Duration::from_secs_f64(self.now)
    }

    fn open_chats(&mut self) {
        while self.chats.len() < self.scene.chats
            && self.leases.len() + self.thinking.len() < self.scene.at_once
        {
            self.chats.push(Chat { turn: 0, tokens: SYSTEM, before: SYSTEM });
            self.ask(self.chats.len() - 1);
        }
    }

    fn end_thoughts(&mut self) {
        let now = self.now;
        let (over, others) = std::mem::take(&mut self.thinking).into_iter().partition(|(at, _)| *at <= now);
        self.thinking = others;
        let over: Vec<(f64, usize)> = over;
        over.into_iter().for_each(|(_, chat)| self.ask(chat));
    }

    fn ask(&mut self, number: usize) {
        let answer = draw(&mut self.rng, ANSWER);
        let chat = &mut self.chats[number];
        chat.turn += 1;
        chat.before = chat.tokens;
        chat.tokens += draw(&mut self.rng, TURN);
        self.seen.ideal += f64::from(chat.before / BLOCK * BLOCK);
        let mut key = if self.scene.has_one_key { 1 } else { number as u64 + 1 };
        key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let work = Work { prompt: prompt(number, chat.tokens), ..Work::answer(answer) };
        let lease = self
            .pool
            .lease_by(Profile { affinity: Some(key), ..Profile::default() }, &[], self.at())
            .expect("a node");
        let place = usize::from(lease.address().port()) - 1;
        self.leases.insert(number, lease);
        self.engines[place].in_flight += 1.0;
        self.engines[place].batch.submit(number, work).expect("there is room");
        if self.engines[place].step_ends.is_none() {
            self.begin_step(place);
        }
    }

    fn begin_step(&mut self, place: usize) {
        // a step of an 8 billion model: 20 ms with 100 sequences, and 12,000 tokens of prompts a second
        let times = StepTimes {
            base: Duration::from_millis(8),
            per_seq: Duration::from_micros(130),
            per_prompt_token: Duration::from_micros(80),
        };
        let engine = &mut self.engines[place];
        let step = engine.batch.has_work().then(|| engine.batch.begin_step());
        engine.step_ends = step.map(|step| self.now + times.step(step, 1.0).as_secs_f64());
    }

    fn end_step(&mut self, place: usize) {
        let mut done = Vec::new();
        self.engines[place].batch.end_step(|chat, token| {
            if token.last {
                done.push((*chat, token.cached));
            }
        });
        for (number, cached) in done {
            self.seen.hits += f64::from(cached);
            self.engines[place].in_flight -= 1.0;
            let lease = self.leases.remove(&number).expect("it is under way");
            lease.settle(Outcome::Ok, self.at());
            if self.chats[number].turn < TURNS {
                let thought = f64::from(draw(&mut self.rng, THOUGHT)) / 1e3;
                self.thinking.push((self.now + thought, number));
            }
        }
        self.begin_step(place);
    }
}

fn run(what: &str, scene: Scene) -> Seen {
    let began = Instant::now();
    let seen = Run::new(scene).go();
    println!(
        "{what}, {:?}, {} nodes, {} chats, {} at once: {:.3} of the hits of one cache, variation {:.3}, {:.1} s (took {:.1?})",
        scene.balance,
        scene.nodes,
        scene.chats,
        scene.at_once,
        seen.part_of_ideal(),
        seen.variation(),
        seen.wall,
        began.elapsed(),
    );
    seen
}

/// By key, and then the same by load.
fn both(what: &str, scene: Scene) -> [Seen; 2] {
    [Balance::Affinity, Balance::LeastInFlight].map(|balance| run(what, Scene { balance, ..scene }))
}

const CHATS: Scene = Scene {
    balance: Balance::Affinity,
    nodes: 8,
    chats: 300,
    at_once: 200,
    has_one_key: false,
    kv_tokens: 80_000,
};

#[test]
fn few_chats_at_a_time_find_what_they_share() {
    let [by_key, by_load] = both("chats", Scene { nodes: 4, chats: 150, at_once: 8, ..CHATS });
    assert!(by_key.part_of_ideal() >= 0.95 && by_key.variation() <= 0.1, "{by_key:?}");
    assert!(
        by_key.part_of_ideal() > by_load.part_of_ideal() + 0.02,
        "there is something to be won: {by_load:?}"
    );
}

#[test]
fn many_chats_at_a_time_find_what_they_share() {
    let [by_key, by_load] = both("chats", CHATS);
    assert!(by_key.part_of_ideal() >= 0.95 && by_key.variation() <= 0.1, "{by_key:?}");
    assert!(by_key.wall < by_load.wall * 0.8, "what is not computed again is time for others: {by_load:?}");
}

#[test]
fn a_key_that_all_share_costs_no_throughput() {
    let [by_key, by_load] = both("one key", Scene { chats: 160, at_once: 100, has_one_key: true, ..CHATS });
    assert!(by_key.wall < by_load.wall * 1.02, "{by_key:?} {by_load:?}");
}
