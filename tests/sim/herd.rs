//! The share of a node that returns empty among busy ones, or as the first of all: measured at every moment.

use evenkeel::config::MaxInFlight;
use evenkeel::fleet::NodeState;

use crate::fleet::{Plan, seconds};
use crate::node::Weather;
use crate::world::World;

const NODES: usize = 8;
const CLIENTS: usize = 384;
const SLOW_START: f64 = 10.0;

/// Each node may have its part of the clients and no more, or as many as come.
fn plan(limited: bool) -> Plan {
    let mut plan = Plan::calm(NODES, CLIENTS);
    plan.conf.health.slow_start = seconds(SLOW_START);
    plan.conf.retry.wait = seconds(600.0);
    for node in &mut plan.conf.nodes {
        if limited {
            node.max_in_flight = MaxInFlight::Fixed(CLIENTS / NODES);
        }
    }
    plan
}

fn held(world: &World) -> Vec<f64> {
    world.watch.nodes.iter().map(|node| f64::from(node.in_flight)).collect()
}

/// The first node's.
fn share(world: &World) -> f64 {
    world.pool.snapshot(world.now()).nodes[0].share
}

/// The most that the first node has above its share of what the others have on average, after its return.
fn most_above_share(limited: bool) -> f64 {
    let mut world = World::new(plan(limited));
    world.run_until(100.0);
    world.set_weather(0, Weather::Crashed);
    world.run_until(200.0);
    assert_eq!(held(&world)[0], 0.0);
    let waiting = world.waiting.len();
    assert_eq!(waiting, if limited { CLIENTS / NODES } else { 0 }, "what the limits leave over waits");
    world.set_weather(0, Weather::Well);
    while world.watch.nodes[0].state != NodeState::Up {
        world.step();
    }
    let back = world.seconds();
    let mut most = f64::MIN;
    while world.seconds() < back + 2.0 * SLOW_START {
        let counts = held(&world);
        let share = share(&world);
        let mean = counts[1..].iter().sum::<f64>() / (NODES - 1) as f64;
        most = most.max(counts[0] - share * mean);
        world.step();
    }
    let counts = held(&world);
    assert!(counts[0] >= 40.0, "it has its share after slow_start: {counts:?}");
    assert!(world.waiting.is_empty(), "nobody waits where there is room: {}", world.waiting.len());
    most
}

#[test]
fn a_node_that_returns_among_busy_ones_is_not_run_over() {
    for limited in [false, true] {
        let most = most_above_share(limited);
        println!("{NODES} nodes, {CLIENTS} clients, limited: {limited}: at most {most:.3} above its share");
        assert!(
            most <= 1.0 + 1e-6,
            "limited: {limited}: {most:.3} requests above its share at its worst moment"
        );
    }
}

#[test]
fn the_first_node_that_returns_does_not_get_all_that_wait() {
    let mut world = World::new(plan(true));
    world.run_until(100.0);
    for node in 0..NODES {
        world.set_weather(node, Weather::Crashed);
    }
    world.run_until(200.0);
    assert_eq!(world.waiting.len(), CLIENTS);
    world.set_weather(0, Weather::Well);
    let limit = (CLIENTS / NODES) as f64;
    let (mut first, mut most, mut all_used) = (None, f64::MIN, None);
    let began = world.seconds();
    while world.seconds() < began + 60.0 {
        world.step();
        let (now, count) = (world.seconds(), held(&world)[0]);
        if count > 0.0 {
            first.get_or_insert(now);
            most = most.max(count - share(&world) * limit);
        }
        if count >= limit {
            all_used.get_or_insert(now);
        }
    }
    let took = all_used.expect("all its room is used in the end") - first.expect("it is used");
    println!(
        "{CLIENTS} wait for the first of {NODES}: at most {most:.3} above its share, full after {took:.1} s"
    );
    assert!(most <= 1.0 + 1e-6, "{most:.3} requests above its share at its worst moment");
    // once as a last resort, and once more when it is up
    assert!((SLOW_START - 1.0..=2.0 * SLOW_START + 1.0).contains(&took), "full after {took} s");
}
