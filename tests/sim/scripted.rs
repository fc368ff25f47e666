//! Scenarios with a script, and what is measured in them.

use evenkeel::config::Check;
use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;

use crate::fleet::{Plan, seconds};
use crate::node::Weather;
use crate::world::World;

/// The fleet that this is all about: two nodes, 384 clients, two minutes to restart.
fn batch() -> Plan {
    let mut plan = Plan::calm(2, 384);
    plan.conf.health.fail_timeout = seconds(120.0);
    plan.conf.retry.wait = seconds(180.0);
    plan
}

fn held(world: &World) -> Vec<u32> {
    world.watch.nodes.iter().map(|node| node.in_flight).collect()
}

/// Asks often enough to matter within a minute.
fn check() -> Check {
    Check { path: "/health".into(), interval: seconds(5.0), timeout: seconds(2.0), rise: 1, fall: 3 }
}

#[test]
fn a_crash_under_192_requests_costs_no_client_anything() {
    let mut plan = batch();
    plan.streams = 0.0;
    let mut world = World::new(plan);
    world.run_until(100.0);
    assert_eq!(held(&world), [192, 192]);
    world.set_weather(0, Weather::Crashed);
    world.run_until(100.0 + 125.0);
    assert_eq!(held(&world), [0, 384]);
    assert_eq!(world.watch.nodes[0].ejections, 1, "192 deaths are one event");
    world.set_weather(0, Weather::Well);
    let back = world.seconds();
    while world.watch.nodes[0].state != NodeState::Up {
        world.step();
    }
    // asked at the very end of fail_timeout, and each 5 s; then the probe has to be at work for probe_pass
    let took = world.seconds() - back;
    assert!(took < 5.0 + 5.0 + 1.0, "used again {took} s after its restart");
    world.run_until(back + 300.0);
    let counts = held(&world);
    assert!(counts[0].abs_diff(counts[1]) <= 8, "level again, but for what ends: {counts:?}");
    world.settle_down();
    assert_eq!(world.told.failed, 0);
}

#[test]
fn a_node_that_returns_empty_gets_its_ramped_share_and_no_more() {
    let mut plan = batch();
    plan.conf.health.slow_start = seconds(60.0);
    let mut world = World::new(plan);
    world.run_until(100.0);
    world.set_weather(0, Weather::Crashed);
    world.run_until(200.0);
    world.set_weather(0, Weather::Well);
    while world.watch.nodes[0].state != NodeState::Up {
        world.step();
    }
    let back = world.seconds();
    let mut most = 0.0_f64;
    while world.seconds() < back + 60.0 {
        world.step();
        let share = world.pool.snapshot(world.now()).nodes[0].share;
        let counts = held(&world);
        // at its share it would have as much for its rate as the other has
        let allowed = share * f64::from(counts[1] + 1);
        most = most.max(f64::from(counts[0]) - allowed);
    }
    assert!(most <= 1.5, "{most} above its share");
    world.run_until(back + 400.0);
    let counts = held(&world);
    assert!(counts[0].abs_diff(counts[1]) <= 8, "{counts:?}");
}

#[test]
fn a_fleet_that_restarts_as_a_whole_costs_a_batch_nothing() {
    for count in 1..=4 {
        let mut plan = Plan { streams: 0.0, ..batch() };
        plan.conf.nodes = Plan::calm(count, 1).conf.nodes;
        plan.speeds = vec![1.0; count];
        let mut world = World::new(plan);
        world.run_until(100.0);
        for node in 0..count {
            world.set_weather(node, Weather::Crashed);
        }
        world.run_until(220.0);
        for node in 0..count {
            world.set_weather(node, Weather::Well);
            world.run_until(240.0 + 10.0 * node as f64);
        }
        world.run_until(900.0);
        assert!(world.watch.all_up());
        let counts = held(&world);
        let level = counts.iter().all(|held| held.abs_diff(counts[0]) <= 40);
        assert!(level, "{counts:?}");
        world.settle_down();
        assert_eq!(world.told.failed, 0, "{count} nodes");
    }
}

#[test]
fn a_flapping_node_hurts_nobody_but_itself() {
    let mut world = World::new(Plan { streams: 0.0, weather_for: 7200.0, ..batch() });
    for round in 0..60 {
        world.run_until(f64::from(round) * 60.0 + 30.0);
        world.set_weather(0, Weather::Crashed);
        world.run_until(f64::from(round) * 60.0 + 60.0);
        world.set_weather(0, Weather::Well);
    }
    world.converge();
    world.settle_down();
    // a request on which a node died twice is not given another: the only way to fail here
    let ratio = world.told.failed as f64 / world.told.served as f64;
    assert!(ratio < 0.01, "{} failed, {} served", world.told.failed, world.told.served);
}

#[test]
fn storms_of_503_and_of_4xx_eject_nobody() {
    let mut plan = Plan::calm(4, 64);
    plan.bad = 0.8;
    let mut world = World::new(plan);
    world.run_until(60.0);
    world.set_weather(0, Weather::Http503);
    world.set_weather(1, Weather::Http503);
    world.run_until(660.0);
    assert!(world.watch.nodes.iter().all(|node| node.ejections == 0));
    assert_eq!(world.told.failed, 0);
}

#[test]
fn poison_ejects_nobody_for_long() {
    let mut world = World::new(Plan { poison: 0.2, ..Plan::calm(3, 64) });
    let mut out = 0.0;
    while world.seconds() < 3600.0 {
        let before = world.seconds();
        let ejected = world.watch.nodes.iter().filter(|n| n.state != NodeState::Up).count();
        world.step();
        out += ejected as f64 * (world.seconds() - before);
    }
    let share = out / (3.0 * 3600.0);
    assert!(share < 0.001, "{share} of the nodes' time");
}

/// Three of four answer everything with 500, and three attempts is all that a request has.
#[test]
fn broken_nodes_do_not_acquit_each_other() {
    // a single client does not fail five times in a window: for it they stay up, by the rule of max_fails
    for clients in [4, 16, 64] {
        let mut world = World::new(Plan::calm(4, clients));
        world.run_until(60.0);
        for node in 0..3 {
            world.set_weather(node, Weather::Http500);
        }
        // as long as their last good answers are believed
        world.run_until(60.0 + 30.0 + 10.0);
        let (failed, served) = (world.told.failed, world.told.served);
        world.run_until(3600.0);
        let (failed, served) = (world.told.failed - failed, world.told.served - served);
        assert!(failed * 50 <= served + failed, "{clients} clients: {failed} failed, {served} served");
    }
}

/// `/health` says 200 all the while.
#[test]
fn a_blind_check_does_not_bring_a_broken_node_back() {
    let mut plan = Plan::calm(2, 64);
    plan.blind_check = true;
    plan.conf.health.check = Some(check());
    let mut world = World::new(plan);
    world.run_until(60.0);
    world.set_weather(0, Weather::Http500);
    world.run_until(1860.0);
    let wasted = world.pool.snapshot(world.now()).nodes[0].attempts_with(Outcome::Http5xx);
    // 5, and one a probe: after 30, 60, 120, 240, 480, 600 s
    assert!(wasted <= 12, "{wasted} attempts were wasted on it in half an hour");
    assert_eq!(world.told.failed, 0);
}

/// Its engine hangs for half an hour, its `/health` says 200 all the while, and requests have no limit of their own.
#[test]
fn a_node_that_hangs_costs_what_waits_there_one_stall_each_time_it_is_tried() {
    let mut plan = Plan::calm(4, 64);
    plan.blind_check = true;
    plan.conf.timeouts.stall = Some(seconds(60.0));
    plan.conf.health.check = Some(check());
    let mut world = World::new(plan);
    world.run_until(60.0);
    world.set_weather(0, Weather::Hung);
    world.run_until(60.0 + 60.0 + 1.0);
    let node = &world.watch.nodes[0];
    assert_eq!((node.state, node.in_flight, node.ejections), (NodeState::Ejected, 0, 1));
    world.run_until(60.0 + 1800.0);
    let node = &world.watch.nodes[0];
    // after 30, 60, 120, 240, 480 s it is tried again, each time up to the limit
    assert!(node.ejections <= 6, "{} ejections", node.ejections);
    println!("half an hour: {} ejections, {} attempts that went elsewhere", node.ejections, node.given_up);
    assert!(node.given_up <= 16 * node.ejections, "{} attempts went elsewhere", node.given_up);
    assert_eq!(world.told.failed, 0);
    world.converge();
    world.settle_down();
}

#[test]
fn what_waits_at_a_node_that_its_check_has_lost_goes_elsewhere() {
    for weather in [Weather::Hung, Weather::Vanished] {
        let mut plan = Plan { streams: 0.0, ..Plan::calm(2, 32) };
        plan.conf.health.check = Some(check());
        let mut world = World::new(plan);
        world.run_until(60.0);
        assert_eq!(held(&world), [16, 16]);
        world.set_weather(0, weather);
        // the third check ends 5.5 + 5.5 + 5.5 + 2 s later at the latest, and a connect takes its time
        world.run_until(60.0 + 27.0);
        assert_eq!(held(&world), [0, 32], "{weather:?}");
        world.set_weather(0, Weather::Well);
        world.converge();
        world.settle_down();
        assert_eq!(world.told.failed, 0, "{weather:?}");
    }
}
