//! A fleet: its configuration, its clients and the weather that it will have.

use std::time::Duration;

use evenkeel::config::{
    Affinity, Balance, Check, Deadline, Engine, Health, HostPort, HttpVersion, Link, MaxInFlight, Models,
    Node, NodeAddress, NodeDefaults, Origin, Pool, Queue, Retry, Timeouts, Weight,
};
use fastrand::Rng;

/// Requests that a random fleet may serve: what bounds the time of a run.
const REQUESTS: f64 = 500.0;

/// Everything that a life depends on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub seed: u64,
    pub conf: Pool,
    pub clients: usize,
    /// Mean time of a generation on a node of speed 1.
    pub mean: f64,
    pub speeds: Vec<f64>,
    /// Of the requests: how many stream, get 500 everywhere, get 400 everywhere, are left by their client.
    pub streams: f64,
    pub poison: f64,
    pub bad: f64,
    pub leaves: f64,
    /// The time in which there is weather, in seconds.
    pub weather_for: f64,
    /// Mean time between two kinds of weather at one node, in seconds; 0: none.
    pub weather_each: f64,
    pub kinds: Vec<Kind>,
    /// The rate of faults that hit all nodes at once.
    pub together: f64,
    /// The check passes whatever the engine does, as long as the process is there.
    pub blind_check: bool,
    /// Clients that got a quick answer ask again at once.
    pub eager: bool,
    pub tick: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Crash,
    Vanish,
    Hang,
    Http500,
    Http503,
    Slow,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Crash, Self::Vanish, Self::Hang, Self::Http500, Self::Http503, Self::Slow];
}

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Between the two, small ones as likely as large ones.
pub(crate) fn spread(rng: &mut Rng, from: f64, to: f64) -> f64 {
    from * (to / from).powf(rng.f64())
}

impl Plan {
    /// The longest time that a request waits at once: for a slot, and for a node, in seconds.
    pub(crate) fn wait_max(&self) -> f64 {
        let is_limited = self.conf.nodes.iter().any(|node| node.max_in_flight != MaxInFlight::Off);
        let queue = if is_limited { self.conf.queue.timeout.as_secs_f64() } else { 0.0 };
        self.conf.retry.wait.as_secs_f64() + queue
    }

    pub(crate) fn random(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let count = rng.usize(2..=12);
        let clients = spread(rng, 8.0, 384.0) as usize;
        let horizon = spread(rng, 3600.0, 3.0 * 3600.0);
        let mut conf = Self::random_pool(rng, count, clients);
        let streams = [0.0, 0.5, 1.0][rng.usize(0..3)];
        // a node that works on whole answers is silent for as long as those take: there no time is the right one
        conf.timeouts.stall = (streams == 1.0 && rng.bool()).then(|| seconds(spread(rng, 30.0, 600.0)));
        let weather_each = horizon / spread(rng, 1.0, 8.0);
        let calm = rng.u8(0..10) == 0;
        let learns = seed % 4 == 3 && conf.balance == Balance::LeastInFlight;
        if learns {
            conf.nodes.iter_mut().for_each(|node| node.weight = Weight::Auto);
        }
        Self {
            seed,
            clients,
            mean: (horizon * clients as f64 / REQUESTS).clamp(1.0, 1800.0),
            speeds: (0..count).map(|_| spread(rng, 0.5, 2.0)).collect(),
            streams,
            poison: [0.0, 0.0, 0.01, 0.1][rng.usize(0..4)],
            bad: [0.0, 0.05, 0.5][rng.usize(0..3)],
            leaves: [0.0, 0.02, 0.2][rng.usize(0..3)],
            weather_for: horizon,
            weather_each: if calm { 0.0 } else { weather_each },
            kinds: Kind::ALL.into_iter().filter(|_| rng.bool()).collect(),
            together: [0.0, 0.0, 0.1][rng.usize(0..3)],
            blind_check: rng.bool(),
            eager: rng.u8(0..20) == 0,
            // the gateway ticks each 0.1 s; a tenth of the ticks shows the same
            tick: [0.5, 1.0, 2.0, 2.0][rng.usize(0..4)],
            conf,
        }
    }

    fn random_pool(rng: &mut Rng, count: usize, clients: usize) -> Pool {
        let weighted = rng.bool();
        let limited = rng.u8(0..3) == 0;
        let node = |rng: &mut Rng, i: usize| Node {
            weight: Weight::Fixed(if weighted { [0.5, 1.0, 2.0, 3.0][rng.usize(0..4)] } else { 1.0 }),
            max_in_flight: if limited {
                MaxInFlight::Fixed(clients / count + rng.usize(1..10))
            } else {
                MaxInFlight::Off
            },
            ..node(i)
        };
        let nodes = (0..count).map(|i| node(rng, i)).collect();
        let mut pool = pool(nodes);
        let fail_timeout = spread(rng, 1.0, 300.0);
        pool.balance = if rng.u8(0..8) == 0 { Balance::RoundRobin } else { Balance::LeastInFlight };
        pool.health = Health {
            max_fails: [0, 1, 2, 5, 5, 5, 20][rng.usize(0..7)],
            fail_timeout: seconds(fail_timeout),
            max_eject: seconds(fail_timeout * spread(rng, 1.0, 10.0)),
            probe_pass: seconds(spread(rng, 1.0, 20.0)),
            slow_start: seconds([0.0, 10.0, 60.0][rng.usize(0..3)]),
            check: rng.bool().then(|| Check {
                path: "/health".into(),
                interval: seconds(spread(rng, 5.0, 60.0)),
                timeout: seconds(2.0),
                rise: rng.u32(1..4),
                fall: rng.u32(1..4),
            }),
        };
        pool.retry.attempts = rng.u32(1..=16);
        pool.retry.wait = seconds([0.0, 60.0, 180.0][rng.usize(0..3)]);
        pool.queue.timeout = seconds([0.0, 60.0, 600.0][rng.usize(0..3)]);
        pool.timeouts.first_byte = rng.bool().then(|| seconds(spread(rng, 30.0, 600.0)));
        pool
    }

    /// A fleet for a scripted scenario: equal nodes, no weather of its own, streams.
    pub(crate) fn calm(nodes: usize, clients: usize) -> Self {
        let nodes: Vec<_> = (0..nodes).map(node).collect();
        Self {
            seed: 1,
            clients,
            mean: 60.0,
            speeds: vec![1.0; nodes.len()],
            streams: 1.0,
            poison: 0.0,
            bad: 0.0,
            leaves: 0.0,
            weather_for: 600.0,
            weather_each: 0.0,
            kinds: Vec::new(),
            together: 0.0,
            blind_check: false,
            eager: true,
            tick: 0.1,
            conf: pool(nodes),
        }
    }
}

fn node(i: usize) -> Node {
    let port = u16::try_from(i + 1).expect("a few nodes");
    let address = NodeAddress::Http(HostPort { host: "10.0.0.1".into(), port });
    Node {
        name: i.to_string(),
        address,
        link: Link::Tcp,
        authorization: None,
        weight: Weight::Fixed(1.0),
        max_in_flight: MaxInFlight::Off,
        drain: false,
        backup: false,
        origin: Origin::Config,
    }
}

fn pool(nodes: Vec<Node>) -> Pool {
    let mut retry = Retry::default();
    retry.on.statuses.extend([429, 500, 502, 503, 504]);
    Pool {
        name: "sim".into(),
        models: Models { any: true, ..Models::default() },
        chosen_by: evenkeel::config::ChosenBy::default(),
        spill: None,
        engine: Engine::Generic,
        balance: Balance::LeastInFlight,
        affinity: Affinity::default(),
        nodes,
        sources: Vec::new(),
        defaults: NodeDefaults::default(),
        http_version: HttpVersion::H1,
        health: Health::default(),
        queue: Queue::default(),
        deadline: Deadline::default(),
        retry,
        timeouts: Timeouts::default(),
    }
}
