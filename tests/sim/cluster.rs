//! Many gateways over many nodes in virtual time, with the members and the ledger as they are: how even the nodes' load is, and what
//! the exchange costs. The table in cluster.md is what this prints:
//!
//! ```text
//! EVENKEEL_CLUSTER_TABLE=1 cargo test --test sim cluster:: -- --nocapture
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use evenkeel::credits::{
    Allowance, Answer, Call, Done, Epoch, Ledger, Member, MemberId, Name, Need, Op, Reply, Settings, Terms,
    Total,
};
use fastrand::Rng;

const CAP: u32 = 24;
/// Requests in flight for each node, on the average.
const MEAN: f64 = 16.0;
/// Length of a request in seconds, on the average.
const LENGTH: f64 = 10.0;
/// Time until the fleet is at its mean, and then the time that is measured, in seconds.
const WARM_UP: f64 = 15.0;

#[derive(Clone, Copy)]
struct Plan {
    gateways: usize,
    nodes: usize,
    interval_ms: u64,
    seconds: f64,
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcome {
    /// Standard deviation of the nodes' in flight, in requests.
    deviation: f64,
    /// The fullest node, in requests above the mean.
    above: f64,
    /// The part of the requests that had to wait.
    waited: f64,
    calls_a_second: f64,
    bytes_a_second: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    End { gateway: usize, node: usize },
    Exchange { gateway: usize },
    Look,
}

#[derive(Clone, Copy, Default)]
struct Local {
    limit: u32,
    in_use: u32,
    elsewhere: u32,
}

struct Gateway {
    member: Member,
    nodes: Vec<Local>,
    waiting: u32,
}

struct World {
    plan: Plan,
    rng: Rng,
    start: Instant,
    now: f64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    gateways: Vec<Gateway>,
    ledger: Ledger,
    weights: Vec<f64>,
    arrived: u64,
    waited: u64,
    calls: u64,
    bytes: u64,
    looks: Vec<(f64, f64)>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let settings =
            Settings { heartbeat: Duration::from_millis(500), forget_after: Duration::from_mins(15) };
        let gateway = |number: usize| Gateway {
            member: Member::new(MemberId(number as u64 + 1), format!("10.0.0.{number}:1"), settings),
            nodes: vec![Local::default(); plan.nodes],
            waiting: 0,
        };
        let mut world = Self {
            plan,
            rng: Rng::with_seed(7),
            start: Instant::now(),
            now: 0.0,
            events: BinaryHeap::new(),
            gateways: (0..plan.gateways).map(gateway).collect(),
            ledger: Ledger::new(Terms { settle_ms: 2000, known_ms: 5000 }),
            // clients are spread as they are: some gateways have many times what others have
            weights: (0..plan.gateways)
                .map(|number| 1.0 / (1.0 + number as f64 * 4.0 / plan.gateways as f64))
                .collect(),
            arrived: 0,
            waited: 0,
            calls: 0,
            bytes: 0,
            looks: Vec::new(),
        };
        for gateway in 0..plan.gateways {
            let at = world.rng.f64() * plan.interval_ms as f64 / 1000.0;
            world.at(at, Event::Exchange { gateway });
        }
        world.at(4.0, Event::Arrive);
        world.at(WARM_UP, Event::Look);
        world
    }

    fn at(&mut self, seconds: f64, event: Event) {
        self.events.push(Reverse(((seconds * 1e6) as u64, event)));
    }

    fn run(mut self) -> Outcome {
        let end = WARM_UP + self.plan.seconds;
        while let Some(Reverse((at, event))) = self.events.pop() {
            self.now = at as f64 / 1e6;
            if self.now > end {
                break;
            }
            match event {
                Event::Arrive => self.arrive(),
                Event::End { gateway, node } => self.end(gateway, node),
                Event::Exchange { gateway } => {
                    self.exchange(gateway);
                    self.at(self.now + self.plan.interval_ms as f64 / 1000.0, event);
                }
                Event::Look => {
                    self.look();
                    self.at(self.now + 0.1, event);
                }
            }
        }
        let looks = self.looks.len() as f64;
        Outcome {
            deviation: self.looks.iter().map(|look| look.0).sum::<f64>() / looks,
            above: self.looks.iter().map(|look| look.1).sum::<f64>() / looks,
            waited: self.waited as f64 / self.arrived as f64,
            calls_a_second: self.calls as f64 / self.plan.seconds,
            bytes_a_second: self.bytes as f64 / self.plan.seconds,
        }
    }

    fn is_measured(&self) -> bool {
        self.now >= WARM_UP
    }

    fn arrive(&mut self) {
        let rate = self.plan.nodes as f64 * MEAN / LENGTH;
        let pause = -(1.0 - self.rng.f64()).ln() / rate;
        self.at(self.now + pause, Event::Arrive);
        let mut part = self.rng.f64() * self.weights.iter().sum::<f64>();
        let gateway = self.weights.iter().position(|weight| {
            part -= weight;
            part <= 0.0
        });
        let gateway = gateway.unwrap_or(0);
        let is_measured = self.is_measured();
        self.arrived += u64::from(is_measured);
        if !self.begin(gateway) {
            self.waited += u64::from(is_measured);
            self.gateways[gateway].waiting += 1;
            // the bell
            self.exchange(gateway);
        }
    }

    /// Takes a slot on the node with the fewest requests, as far as the gateway knows.
    fn begin(&mut self, gateway: usize) -> bool {
        let count = self.plan.nodes;
        let first = self.rng.usize(..count);
        let nodes = &mut self.gateways[gateway].nodes;
        let free =
            (0..count).map(|step| (first + step) % count).filter(|at| nodes[*at].in_use < nodes[*at].limit);
        let Some(node) = free.min_by_key(|at| nodes[*at].in_use + nodes[*at].elsewhere) else { return false };
        nodes[node].in_use += 1;
        let length = -(1.0 - self.rng.f64()).ln() * LENGTH;
        self.at(self.now + length, Event::End { gateway, node });
        true
    }

    fn end(&mut self, gateway: usize, node: usize) {
        self.gateways[gateway].nodes[node].in_use -= 1;
        self.serve(gateway);
    }

    fn serve(&mut self, gateway: usize) {
        while self.gateways[gateway].waiting > 0 && self.begin(gateway) {
            self.gateways[gateway].waiting -= 1;
        }
    }

    fn exchange(&mut self, at: usize) {
        let now = self.start + Duration::from_secs_f64(self.now);
        for _ in 0..3 {
            let part = self.gateways[at].waiting.div_ceil(self.plan.nodes as u32);
            let Gateway { member, nodes, .. } = &mut self.gateways[at];
            let need = |(name, local): (usize, &Local)| Need {
                name: Name(name as u64),
                cap: Some(CAP),
                in_use: local.in_use,
                urgent: 0,
                waiting: part,
                usable: CAP,
                is_node: true,
            };
            let needs: Vec<_> = nodes.iter().enumerate().map(need).collect();
            let credit = |Allowance { name, limit, .. }: Allowance| {
                let local = &mut nodes[name.0 as usize];
                local.limit = limit.unwrap_or(0);
                local.limit.max(local.in_use)
            };
            let next = Epoch(self.rng.u64(1..));
            let Some(call) = member.call(&needs, credit, next, now) else { break };
            let answer = self.ledger.call(&call, 1_000_000 + (self.now * 1000.0) as u64);
            let allowances = member.accept(&answer, now).expect("an answer");
            for Allowance { name, limit, elsewhere } in allowances {
                nodes[name.0 as usize].limit = limit.unwrap_or(0);
                nodes[name.0 as usize].elsewhere = elsewhere;
            }
            let is_enough = matches!(answer.reply, Reply::Done(_)) && !member.owes(&needs);
            if self.now >= WARM_UP {
                self.calls += 1;
                self.bytes += bytes(&call, &answer);
            }
            if is_enough {
                break;
            }
        }
        self.serve(at);
    }

    fn look(&mut self) {
        let load = |node: usize| self.gateways.iter().map(|gateway| gateway.nodes[node].in_use).sum::<u32>();
        let loads: Vec<_> = (0..self.plan.nodes).map(load).collect();
        let most = loads.iter().copied().max().unwrap_or(0);
        assert!(most <= CAP, "{most} in flight on one node");
        let mean = loads.iter().sum::<u32>() as f64 / loads.len() as f64;
        let spread =
            loads.iter().map(|load| (f64::from(*load) - mean).powi(2)).sum::<f64>() / loads.len() as f64;
        self.looks.push((spread.sqrt(), f64::from(most) - mean));
    }
}

/// The length of a call and its answer, as texts of RESP.
fn bytes(call: &Call, answer: &Answer) -> u64 {
    let (asks, interest) = match &call.op {
        Op::Exchange { asks, interest, .. } => (asks.as_slice(), interest.len()),
        Op::Register { asks, .. } => (asks.as_slice(), 0),
        Op::Bury { .. } | Op::Leave => (&[][..], 0),
    };
    // names have 16 digits; each argument has its length and two ends of lines
    let ask = |ask: &evenkeel::credits::Ask| {
        let numbers = [ask.cap, ask.row.held, ask.row.in_use, ask.row.urgent, ask.row.waiting, ask.want];
        16 + 7 + numbers.iter().map(|number| 1 + digits(u64::from(*number))).sum::<u64>()
    };
    let mut count = 450 + 16 * interest as u64 + asks.iter().map(ask).sum::<u64>();
    if let Reply::Done(Done { granted, totals, fellows, .. }) = &answer.reply {
        let total = |total: &Total| {
            let numbers = [total.held, total.in_use, total.urgent, total.waiting, total.starved];
            numbers.iter().map(|number| 1 + digits(*number)).sum::<u64>()
        };
        count += granted.iter().map(|units| 1 + digits(u64::from(*units))).sum::<u64>();
        count += totals.iter().map(total).sum::<u64>();
        count += 45 * fellows.as_ref().map_or(0, Vec::len) as u64;
    }
    count
}

fn digits(number: u64) -> u64 {
    number.checked_ilog10().map_or(1, |log| u64::from(log) + 1)
}

fn row(plan: Plan) -> Outcome {
    let outcome = World::new(plan).run();
    let Outcome { deviation, above, waited, calls_a_second, bytes_a_second } = &outcome;
    let Plan { gateways, nodes, interval_ms, .. } = plan;
    println!(
        "| {gateways} x {nodes} | {interval_ms} ms | {deviation:.2} | {above:.1} | {:.2} % | {calls_a_second:.0} | {:.0} |",
        100.0 * waited,
        bytes_a_second / 1000.0
    );
    outcome
}

const HEAD: &str = "| gateways x nodes | interval | deviation | fullest above mean | waited | calls/s | kB/s |\n|---|---|---|---|---|---|---|";

/// Nodes of ten gateways are nearly as even as those of one, and less so with longer intervals.
#[test]
fn ten_gateways_over_forty_nodes() {
    println!("{HEAD}");
    let of = |gateways, interval_ms| row(Plan { gateways, nodes: 40, interval_ms, seconds: 10.0 });
    let (one, ten, slow) = (of(1, 100), of(10, 100), of(10, 1000));
    assert!(one.deviation < 0.6, "{one:?}");
    assert!(ten.deviation < one.deviation + 1.0, "{ten:?}");
    assert!(slow.deviation < one.deviation + 2.5 && slow.deviation > ten.deviation, "{slow:?}");
    assert!(ten.waited < 0.02, "{ten:?}");
}

/// All of the table: some minutes.
#[test]
fn table() {
    if std::env::var_os("EVENKEEL_CLUSTER_TABLE").is_none() {
        println!("EVENKEEL_CLUSTER_TABLE=1 prints the table");
        return;
    }
    println!("{HEAD}");
    for (gateways, nodes) in [(1, 100), (3, 100), (10, 100), (30, 300), (100, 1000)] {
        for interval_ms in [50, 100, 250, 500, 1000, 2000] {
            if gateways == 1 && interval_ms != 100 || gateways == 100 && interval_ms < 100 {
                continue;
            }
            row(Plan { gateways, nodes, interval_ms, seconds: 10.0 });
        }
    }
}
