//! Fairness between flows: who gets the next slot, and what stays as it is where there is one flow only.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::queue::Waiting;
use super::*;
use crate::balance::tokens::Size;
use crate::config::Class;
use crate::fleet::Flow;

/// The most tokens of a prompt, and of an answer.
const TOKENS_MAX: u32 = 300;
/// The most that an attempt can cost: an answer that outgrows what was expected is charged twice at the most.
const COST_MAX: u64 = TOKENS_MAX as u64 + 2 * 2 * TOKENS_MAX as u64;

/// Nodes with this cap.
fn capped(count: usize, cap: usize) -> Bench {
    let of_cap = |node| config::Node { max_in_flight: MaxInFlight::Fixed(cap), ..node };
    Bench::of(conf(nodes(count).into_iter().map(of_cap).collect()))
}

#[derive(Clone, Copy, Debug)]
struct Request {
    flow: Option<u64>,
    class: Class,
    is_repeated: bool,
    prompt: u32,
    answer: u32,
    /// The node that it does not use.
    avoids: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Come(Request),
    End(usize),
    Leave(usize),
}

fn request(flows: u64, classes: usize, avoids: usize) -> impl Strategy<Value = Request> {
    (0..flows, 0..classes, 0_u8..8, 0..=TOKENS_MAX, 0..=TOKENS_MAX, 0..=avoids).prop_map(
        |(flow, class, tries, prompt, answer, avoids)| Request {
            flow: (flow > 0).then_some(flow),
            class: Class::ALL[class],
            is_repeated: tries == 0,
            prompt,
            answer,
            avoids: avoids.checked_sub(1),
        },
    )
}

fn act(flows: u64, classes: usize, avoids: usize) -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => request(flows, classes, avoids).prop_map(Act::Come),
        5 => any::<usize>().prop_map(Act::End),
        1 => any::<usize>().prop_map(Act::Leave),
    ]
}

/// A pool and its requests, by the order in which they came.
struct World {
    bench: Bench,
    came: usize,
    waiting: BTreeMap<usize, (Request, Waiting)>,
    held: Vec<(usize, Request, Lease)>,
}

impl World {
    fn new(count: usize, cap: usize) -> Self {
        Self { bench: capped(count, cap), came: 0, waiting: BTreeMap::new(), held: Vec::new() }
    }

    fn ask(&self, request: Request) -> Ask {
        let keys = self.bench.keys();
        let avoid = request.avoids.and_then(|place| Some(keys.get(place)?.0)).into_iter().collect();
        let size = Size { prompt: request.prompt, limit: None };
        let flow = request.flow.map(Flow::new);
        let admission = if request.is_repeated { Admission::Repeated } else { Admission::Below(usize::MAX) };
        Ask {
            want: Want::other_than(avoid),
            admission,
            profile: Profile { size, flow, class: request.class, ..Profile::default() },
            news: self.bench.pool.news(),
        }
    }

    fn come(&mut self, request: Request) {
        self.came += 1;
        let ask = self.ask(request);
        match self.bench.pool.wait(&mut None, ask.clone(), self.bench.now) {
            Some(Ok(lease)) => self.held.push((self.came, request, lease)),
            _ => _ = self.waiting.insert(self.came, (request, self.bench.waits_with(ask))),
        }
    }

    /// The requests that it grants a slot.
    fn run(&mut self, act: Act) -> Vec<usize> {
        match act {
            Act::Come(request) => self.come(request),
            Act::End(_) if self.held.is_empty() => {}
            Act::End(place) => {
                let (_, request, mut lease) = self.held.remove(place % self.held.len());
                for _ in 0..request.answer {
                    lease.worked(1, self.bench.now);
                }
                lease.settle(Outcome::Ok, self.bench.now);
            }
            Act::Leave(_) if self.waiting.is_empty() => {}
            Act::Leave(place) => {
                let number = *self.waiting.keys().nth(place % self.waiting.len()).expect("one of them");
                self.waiting.remove(&number);
            }
        }
        self.take_granted()
    }

    fn take_granted(&mut self) -> Vec<usize> {
        let woken = |(number, (_, one)): (&usize, &mut (Request, Waiting))| one.is_woken().then_some(*number);
        let granted: Vec<_> = self.waiting.iter_mut().filter_map(woken).collect();
        for number in &granted {
            let (request, mut one) = self.waiting.remove(number).expect("it waits");
            let lease = one.look(&self.bench).expect("its slot");
            self.held.push((*number, request, lease));
        }
        granted
    }

    /// Nobody waits beside a slot of use.
    fn nobody_waits_in_vain(&self, cap: u32) {
        let snapshot = self.bench.pool.snapshot(self.bench.now);
        for (number, (request, _)) in &self.waiting {
            let of_use =
                snapshot.nodes.iter().enumerate().filter(|(place, _)| request.avoids != Some(*place));
            for (place, node) in of_use {
                assert_eq!(node.in_flight, cap, "{number} waits beside room on {place}");
            }
        }
    }

    /// Requests of a flow that wait.
    fn waiting(&self, flow: u64) -> usize {
        self.waiting.values().filter(|(request, _)| request.flow == Some(flow)).count()
    }

    fn everybody_leaves(&mut self) {
        while !self.waiting.is_empty() || !self.held.is_empty() {
            self.waiting.clear();
            self.run(Act::End(0));
        }
    }
}

#[test]
fn the_flow_that_has_had_least_is_next_and_first_come_first_served_within_it() {
    let one = Request {
        flow: Some(1),
        class: Class::Normal,
        is_repeated: false,
        prompt: 10,
        answer: 100,
        avoids: None,
    };
    let two = Request { flow: Some(2), answer: 10, ..one };
    let mut world = World::new(1, 1);
    for request in [one, one, one, one, two, two, two, two, Request { is_repeated: true, ..two }] {
        world.come(request);
    }
    // 1 had its slot before anybody contended; 9 has been sent before
    let mut order = Vec::new();
    while !world.waiting.is_empty() {
        order.extend(world.run(Act::End(0)));
    }
    assert_eq!(order, [9, 2, 5, 6, 7, 8, 3, 4]);
}

/// One in line for a node that is full has been sent before.
#[test]
fn those_that_were_sent_before_take_turns_as_well() {
    let repeated = |flow| Request {
        flow: Some(flow),
        class: Class::Normal,
        is_repeated: true,
        prompt: 10,
        answer: 10,
        avoids: None,
    };
    let mut world = World::new(1, 1);
    for flow in [1, 1, 1, 1, 2, 2] {
        world.come(repeated(flow));
    }
    let order: Vec<_> = (0..5).flat_map(|_| world.run(Act::End(0))).collect();
    assert_eq!(order, [2, 5, 3, 6, 4]);
}

#[test]
fn a_queue_full_of_one_flow_takes_another() {
    let world = World::new(1, 1);
    let request =
        Request { flow: None, class: Class::Normal, is_repeated: false, prompt: 0, answer: 0, avoids: None };
    let mut places = Vec::new();
    let mut join = |flow| {
        let ask =
            Ask { admission: Admission::Below(4), ..world.ask(Request { flow: Some(flow), ..request }) };
        let mut waiter = None;
        let found = world.bench.pool.wait(&mut waiter, ask, world.bench.now).expect("a pool");
        places.push((waiter, found.ok()));
        places.last().is_some_and(|(waiter, lease)| waiter.is_some() || lease.is_some())
    };
    let flows = [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 3, 3, 4, 5];
    let is_in = flows.map(&mut join);
    let (yes, no) = (true, false);
    assert_eq!(is_in, [yes, yes, yes, yes, yes, no, yes, yes, no, no, yes, no, yes, no]);
}

proptest! {
    /// With one flow, or none, the order is that of before: first come, first served, those first that were sent before.
    #[test]
    fn one_flow_is_served_in_the_order_in_which_it_came(
        acts in vec(act(2, 1, 0), 1..200),
        flow in prop_oneof![Just(None), Just(Some(7))],
        cap in 1_usize..4,
    ) {
        let mut world = World::new(1, cap);
        for act in acts {
            let act = match act {
                Act::Come(request) => Act::Come(Request { flow, ..request }),
                other => other,
            };
            let in_order = |world: &World| {
                let mut order: Vec<_> =
                    world.waiting.iter().map(|(number, (request, _))| (!request.is_repeated, *number)).collect();
                order.sort_unstable();
                order.into_iter().map(|(_, number)| number).collect::<Vec<_>>()
            };
            let before = in_order(&world);
            let granted = world.run(act);
            if matches!(act, Act::End(_)) {
                prop_assert_eq!(&before[..granted.len()], &granted[..]);
                prop_assert_eq!(granted.len(), before.len().min(1));
            }
            prop_assert_eq!(world.bench.pool.table().queue.flows(), 0, "nothing is counted");
        }
    }

    /// The same grants with a flow as without, in all classes and kinds, with shares of the lower classes.
    #[test]
    fn one_flow_changes_nothing(acts in vec(act(2, 3, 2), 1..200), cap in 1_usize..4) {
        let mut worlds = [None, Some(3)].map(|flow| (flow, World::new(2, cap)));
        for act in acts {
            let granted: Vec<_> = worlds.iter_mut().map(|(flow, world)| match act {
                Act::Come(request) => world.run(Act::Come(Request { flow: *flow, ..request })),
                other => world.run(other),
            }).collect();
            prop_assert_eq!(&granted[0], &granted[1]);
        }
    }

    /// Whatever flows come, end and leave: no slot is idle beside somebody who can use it, no cap is exceeded, and in the end nothing
    /// is left.
    #[test]
    fn no_slot_is_idle(acts in vec(act(6, 3, 2), 1..300), cap in 1_usize..4) {
        let mut world = World::new(2, cap);
        for act in acts {
            world.run(act);
            world.nobody_waits_in_vain(cap as u32);
            prop_assert!(world.held.len() <= 2 * cap);
        }
        world.everybody_leaves();
        prop_assert_eq!(world.bench.queue(), 0);
        prop_assert!(world.bench.pool.is_idle());
        // those who owe something are remembered
        prop_assert!(world.bench.pool.table().queue.flows() <= 6);
    }

    /// While two flows wait, however long, the service of one exceeds that of the other by no more than what a few slots cost,
    /// whatever a third one does that comes and goes, and whatever either had before.
    #[test]
    fn two_flows_that_wait_are_served_alike(
        costs in vec((0..=TOKENS_MAX, 1..=TOKENS_MAX), 8),
        ends in vec(any::<usize>(), 600),
        alone in 0_usize..200,
        cap in 1_usize..5,
        third in 2_usize..40,
    ) {
        let mut world = World::new(1, cap);
        let mut served = [0_u64; 3];
        let of = |flow: u64, number: usize| {
            // the one asks for what is short, the other for what is long
            let (prompt, answer) = costs[number % 4 + if flow == 1 { 0 } else { 4 }];
            Request { flow: Some(flow), class: Class::Normal, is_repeated: false, prompt, answer, avoids: None }
        };
        let mut since = None;
        for (round, end) in ends.into_iter().enumerate() {
            for flow in [1, 2] {
                // one may get a slot, and another waits still
                while (flow == 1 || round >= alone) && world.waiting(flow) < 2 {
                    world.come(of(flow, world.came));
                }
            }
            if round % third == 0 {
                world.come(of(3, round));
            }
            if world.waiting(1) > 0 && world.waiting(2) > 0 {
                let start = *since.get_or_insert(served);
                let [one, two] = [0, 1].map(|flow| served[flow] - start[flow]);
                let most = 2 * (cap as u64 + 1) * COST_MAX;
                prop_assert!(one.abs_diff(two) <= most, "{one} and {two}: more than {most} apart");
            }
            let place = end % world.held.len();
            let (_, Request { flow, prompt, answer, .. }, _) = &world.held[place];
            served[flow.map_or(0, |flow| flow as usize - 1)] += u64::from(*prompt) + 2 * u64::from(*answer);
            world.run(Act::End(place));
        }
        prop_assert!(since.is_some() || alone >= 599);
    }
}
