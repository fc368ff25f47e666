//! Virtual time: a queue of events, and what each of them does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::config::Balance;
use evenkeel::fleet::{CheckAnswer, Event, Member, Pool, Question, QuestionKind};
use evenkeel::journey::How;
use evenkeel::outcome::Outcome;
use fastrand::Rng;

use crate::client::{Client, Nature};
use crate::fleet::{Plan, spread};
use crate::invariants::{Seen, Watch};
use crate::node::{Node, Weather, weather};

/// An event that comes due. The numbers tell whether it is still of interest.
#[derive(Debug)]
pub(crate) enum Due {
    Tick,
    Weather {
        node: usize,
    },
    WeatherOver {
        node: usize,
        number: u64,
    },
    /// A client sends its next request.
    Next {
        client: usize,
    },
    Head {
        client: usize,
        serial: u64,
        status: u16,
    },
    End {
        client: usize,
        serial: u64,
    },
    Fails {
        client: usize,
        serial: u64,
        outcome: Outcome,
    },
    Leaves {
        client: usize,
        number: u64,
    },
    /// A wait or a pause may be over because time has passed.
    Look {
        client: usize,
        look: u64,
    },
    Answer {
        question: Question,
        answer: CheckAnswer,
    },
}

/// The longest time without a tick, in seconds.
const SLEEP_MAX: f64 = 10.0;

struct Entry {
    at: u64,
    number: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The record of a life.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub events: u64,
    pub seconds: u64,
    pub served: u64,
    pub failed: u64,
    /// Streams that broke off in their clients' hands.
    pub broken: u64,
    pub attempts: u64,
    pub ejections: u64,
    /// Ejections as stalled, and attempts that went elsewhere for it.
    pub stalls: u64,
    pub given_up: u64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

pub(crate) struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub pool: Arc<Pool>,
    member: Member,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub watch: Watch,
    pub told: Told,
    /// Clients that wait for a node.
    pub waiting: Vec<usize>,
    /// No new requests.
    pub closing: bool,
    /// No new weather.
    calm: bool,
    queue: BinaryHeap<Reverse<Entry>>,
    last_entry: u64,
    base: Instant,
    micros: u64,
    pub(crate) last_tick: f64,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let base = Instant::now();
        // the pool makes its own randomness out of this thread's: the same life again for the same seed
        fastrand::seed(plan.seed);
        let pool = Arc::new(Pool::new(&plan.conf, base));
        let mut world = Self {
            rng: Rng::with_seed(plan.seed ^ 0x5eed),
            member: Member { conf: Arc::new(plan.conf.clone()), pool: Arc::clone(&pool) },
            pool,
            nodes: plan.speeds.iter().map(|speed| Node::new(*speed)).collect(),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            watch: Watch::new(&plan.conf, plan.clients, plan.tick.max(SLEEP_MAX)),
            told: Told::default(),
            waiting: Vec::new(),
            closing: false,
            calm: plan.weather_each <= 0.0 || plan.kinds.is_empty(),
            queue: BinaryHeap::new(),
            last_entry: 0,
            base,
            micros: 0,
            last_tick: 0.0,
            plan,
        };
        for client in 0..world.clients.len() {
            let after = world.rng.f64() * 5.0;
            world.after(after, Due::Next { client });
        }
        for node in 0..world.nodes.len() {
            world.next_weather(node);
        }
        world.after(world.plan.tick, Due::Tick);
        world
    }

    pub(crate) fn now(&self) -> Instant {
        self.base + Duration::from_micros(self.micros)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    pub(crate) fn after(&mut self, time: f64, due: Due) {
        self.last_entry += 1;
        let at = self.micros + (time * 1e6).ceil() as u64;
        self.queue.push(Reverse(Entry { at, number: self.last_entry, due }));
    }

    pub(crate) fn told(self) -> Told {
        let seconds = self.micros / 1_000_000;
        let sum = |count: fn(&Seen) -> u64| self.watch.nodes.iter().map(count).sum();
        let (ejections, stalls) = (sum(|node| node.ejections), sum(|node| node.stalls));
        Told { seconds, ejections, stalls, given_up: sum(|node| node.given_up), ..self.told }
    }

    /// An exponential time with this mean.
    pub(crate) fn about(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.f64()).ln()
    }

    fn next_weather(&mut self, node: usize) {
        if !self.calm {
            let after = self.about(self.plan.weather_each);
            self.after(after, Due::Weather { node });
        }
    }

    /// Lets time pass up to the next thing that comes due.
    pub(crate) fn step(&mut self) {
        let Reverse(Entry { at, due, .. }) = self.queue.pop().expect("there is always a tick");
        self.micros = at;
        self.watch.look(self.seconds());
        self.told.events += 1;
        self.happen(due);
        self.wake();
        self.watch.look(self.seconds());
    }

    pub(crate) fn run_until(&mut self, end: f64) {
        while self.seconds() < end {
            self.step();
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Tick => self.tick(),
            Due::Weather { node } => self.random_weather(node),
            Due::WeatherOver { node, number } if self.nodes[node].weather_number == number => {
                self.set_weather(node, Weather::Well);
            }
            Due::Next { client } if !self.closing => self.ask(client),
            Due::Head { client, serial, status } if self.is_current(client, serial) => {
                self.head(client, status);
            }
            Due::End { client, serial } if self.is_current(client, serial) => {
                // what began on a node that hangs now does not end
                if self.nodes[self.clients[client].node].weather == Weather::Hung {
                    return;
                }
                self.worked(client);
                self.end(client, How::Whole, Outcome::Ok);
            }
            Due::Fails { client, serial, outcome } if self.is_current(client, serial) => {
                self.fails(client, outcome);
            }
            Due::Leaves { client, number } if self.clients[client].number == number => self.leaves(client),
            Due::Look { client, look } if self.is_seeking(client, look) => self.seek(client),
            Due::Answer { question, answer } => {
                if answer == CheckAnswer::Passed {
                    self.accepted(&question);
                }
                let event = self.pool.answer(&question, answer, self.now());
                self.saw(event);
            }
            _ => {}
        }
    }

    fn accepted(&mut self, question: &Question) {
        if question.kind == QuestionKind::Back {
            let node = usize::from(question.address.port()) - 1;
            self.watch.accepted(node);
        }
    }

    fn is_current(&self, client: usize, serial: u64) -> bool {
        let client = &self.clients[client];
        client.serial == serial && client.attempt.is_some()
    }

    fn is_seeking(&self, client: usize, look: u64) -> bool {
        let client = &self.clients[client];
        client.looks == look && (client.waits.is_some() || client.pauses)
    }

    pub(crate) fn saw(&mut self, events: impl IntoIterator<Item = Event>) {
        let now = self.seconds();
        for event in events {
            self.watch.event(&event, now);
        }
    }

    /// The gateway's own tick. While nothing is the matter it may sleep in.
    fn tick(&mut self) {
        let now = self.now();
        self.stream();
        let events = self.pool.tick(now);
        self.saw(events);
        self.wake();
        self.go_elsewhere();
        self.nobody_hangs();
        self.nobody_sleeps_on();
        self.last_tick = self.seconds();
        for question in self.pool.questions(now) {
            self.put(question);
        }
        let seconds = self.seconds();
        self.watch.nobody_is_forgotten(seconds);
        if self.rng.u8(0..20) == 0 {
            self.wake();
            self.watch.agrees(&self.pool.snapshot(now));
        }
        let quiet = self.closing || (self.watch.all_up() && self.waiting.is_empty());
        let checks = self.plan.conf.health.check.as_ref();
        let sleep = checks.map_or(SLEEP_MAX, |check| (check.interval.as_secs_f64() / 2.0).min(SLEEP_MAX));
        let pause = if quiet { sleep } else { self.plan.tick };
        self.after(pause, Due::Tick);
    }

    fn put(&mut self, question: Question) {
        let check = self.plan.conf.health.check.as_ref();
        let timeout = check.map_or(self.plan.conf.timeouts.connect, |check| check.timeout);
        let node = &self.nodes[usize::from(question.address.port()) - 1];
        let (answer, after) = node.answers(check.is_some(), self.plan.blind_check, timeout.as_secs_f64());
        self.after(after, Due::Answer { question, answer });
    }

    fn random_weather(&mut self, node: usize) {
        if self.calm {
            return;
        }
        let kind = self.plan.kinds[self.rng.usize(0..self.plan.kinds.len())];
        let (kind, lasts) = weather(&mut self.rng, kind);
        let all = self.rng.f64() < self.plan.together;
        let hit = if all { 0..self.nodes.len() } else { node..node + 1 };
        for hit in hit {
            self.set_weather(hit, kind);
            let number = self.nodes[hit].weather_number;
            let lasts = lasts * (0.9 + 0.2 * self.rng.f64());
            self.after(lasts, Due::WeatherOver { node: hit, number });
        }
        self.next_weather(node);
    }

    pub(crate) fn set_weather(&mut self, node: usize, weather: Weather) {
        let restarted = self.nodes[node].weather == Weather::Hung;
        self.nodes[node].weather_number += 1;
        self.nodes[node].weather = weather;
        let now = self.seconds();
        self.nodes[node].since = now;
        let well = self.nodes[node].is_well();
        self.watch.weather(node, well, now);
        if weather == Weather::Hung {
            self.streams_stall(node);
        }
        let kills = if restarted { Some(0.0) } else { self.nodes[node].kills_after() };
        let Some(after) = kills else { return };
        for client in self.nodes[node].running.clone() {
            let serial = self.clients[client].serial;
            let attempt = self.clients[client].attempt.as_ref();
            let head = attempt.is_some_and(|attempt| attempt.status().is_some());
            let outcome = if head { Outcome::Truncated } else { Outcome::Reset };
            let after = after + self.rng.f64() * 0.2;
            self.after(after, Due::Fails { client, serial, outcome });
        }
    }

    pub(crate) fn nature(&mut self) -> Nature {
        Nature {
            streams: self.rng.f64() < self.plan.streams,
            poison: self.rng.f64() < self.plan.poison,
            bad: self.rng.f64() < self.plan.bad,
        }
    }

    fn ask(&mut self, client: usize) {
        let mean = self.plan.mean;
        let work = self.about(mean);
        let nature = self.nature();
        let now = self.seconds();
        self.clients[client].renew(now, work, nature, self.member.clone());
        if self.rng.f64() < self.plan.leaves {
            let after = spread(&mut self.rng, 0.01, 2.0 * mean.max(1.0));
            let number = self.clients[client].number;
            self.after(after, Due::Leaves { client, number });
        }
        self.seek(client);
    }

    /// Weather, as long as the plan says.
    pub(crate) fn run_weather(&mut self) {
        self.run_until(self.plan.weather_for);
    }

    /// No more weather: all nodes must be up within a bound, for there is traffic that probes them.
    pub(crate) fn converge(&mut self) {
        self.calm = true;
        for node in 0..self.nodes.len() {
            if self.nodes[node].weather != Weather::Well {
                self.set_weather(node, Weather::Well);
            }
        }
        // what began before may go on for long; from now on requests are short, so that there is always a next one
        self.plan.mean = self.plan.mean.min(20.0);
        self.plan.poison = 0.0;
        let health = &self.plan.conf.health;
        let patience = health.max_eject.as_secs_f64() + 10.0 + 2.0 * self.plan.tick;
        // what was lost with the last weather is found dead
        self.run_until(self.seconds() + 40.0);
        let start = self.seconds();
        // an acquitted probe, or one that met a connection refused at the last moment, has another round
        while !self.watch.all_up() {
            self.step();
            let waited = self.seconds() - start;
            assert!(waited < 2.0 * patience + 8.0 * 1800.0, "not all up: {:?}", self.watch.nodes);
        }
        let risen = self.seconds() + self.plan.conf.health.slow_start.as_secs_f64() + 31.0;
        self.run_until(risen);
        assert!(self.watch.all_up(), "a fleet without weather lost a node: {:?}", self.watch.nodes);
    }

    /// All requests end; then the counts must follow the weights.
    pub(crate) fn settle_down(&mut self) {
        self.closing = true;
        let is_busy = |client: &Client| client.attempt.is_some() || client.waits.is_some() || client.pauses;
        while self.clients.iter().any(is_busy) {
            self.step();
        }
        self.watch.agrees(&self.pool.snapshot(self.now()));
        assert!(self.pool.is_idle());
        if self.plan.conf.balance != Balance::LeastInFlight {
            return;
        }
        let snapshot = self.pool.snapshot(self.now());
        let weights: Vec<f64> = snapshot.nodes.iter().map(|node| node.weight).collect();
        let total: f64 = weights.iter().sum();
        let room =
            snapshot.nodes.iter().filter_map(|node| Some(f64::from(node.max_in_flight?) / node.weight));
        let wanted = room.fold(300.0, f64::min) * total;
        let held: Vec<_> =
            (0..wanted as usize).map_while(|_| self.pool.lease(&[], self.now()).ok()).collect();
        assert_eq!(held.len(), wanted as usize);
        let slack = if weights.iter().all(|weight| *weight == weights[0]) { 1.0 } else { 2.0 };
        for (i, weight) in weights.iter().enumerate() {
            let got = held.iter().filter(|lease| usize::from(lease.address().port()) == i + 1).count() as f64;
            let want = held.len() as f64 * weight / total;
            assert!(
                (got - want).abs() <= (want * 0.02).max(slack),
                "node {i}: {got} held, its share is {want}: {:?}",
                self.watch.nodes
            );
        }
    }

    /// A whole answer, with its tokens, where it is over.
    fn worked(&mut self, client: usize) {
        const TOKENS_A_SECOND: f64 = 30.0;
        let now = self.now();
        let client = &mut self.clients[client];
        let tokens = (client.work * TOKENS_A_SECOND).ceil() as u64;
        if let Some(attempt) = &mut client.attempt {
            attempt.worked(tokens, now);
        }
    }

    /// Everybody who waits and has been woken looks again.
    fn wake(&mut self) {
        loop {
            let waiting = self.waiting.clone();
            let woken: Vec<_> = waiting.into_iter().filter(|client| self.is_woken(*client)).collect();
            if woken.is_empty() {
                return;
            }
            woken.into_iter().for_each(|client| self.seek(client));
        }
    }

    /// The time a client thinks: one that got a quick answer asks again after a while, or a fleet of 400s would be all
    /// that there is time for.
    pub(crate) fn pause(&mut self, client: usize) -> f64 {
        let took = self.seconds() - self.clients[client].started;
        if self.plan.eager || took > 0.2 * self.plan.mean { 0.01 } else { self.about(0.5 * self.plan.mean) }
    }
}
