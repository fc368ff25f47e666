//! The cost of a crash to a batch beyond the least: until the node that is back is found, and until it has its share.

use std::time::Duration;

use evenkeel::config::{Check, Weight};

use super::engines::{Change, Scene, Told, run};
use super::gateway::{Gateway, Sample};
use super::{ALL_TOLD, SLOW, batch, oracle};

const CRASH: f64 = 3.0;
const START: f64 = 5.0;

/// `make bench` has the same.
fn scene(told: Told, seed: u64) -> Scene {
    let changes = vec![(CRASH, 0, Change::Crash), (START, 0, Change::Start)];
    Scene { changes, told, ..batch(&[1.0, 1.0], seed) }
}

fn gateway(told: Told, weight: Weight, interval: f64, slow_start: f64) -> Gateway {
    Gateway::with(2, weight, told, |health| {
        let [interval, slow_start] = [interval, slow_start].map(Duration::from_secs_f64);
        let check =
            Check { interval, path: "/health".into(), timeout: Duration::from_secs(2), rise: 1, fall: 3 };
        health.check = Some(check);
        health.slow_start = slow_start;
        health.fail_timeout = Duration::from_secs(120);
    })
}

const SEEDS: u64 = 3;

fn mean(told: Told, best: &[f64], gateway: impl Fn() -> Gateway) -> f64 {
    let part = |(seed, best): (u64, &f64)| best / run(&scene(told, seed), &mut gateway()).wall;
    (1..=SEEDS).zip(best).map(part).sum::<f64>() / best.len() as f64
}

#[test]
fn a_crash_costs_a_batch_what_it_must() {
    let best: Vec<_> = (1..=SEEDS).map(|seed| oracle::best(&scene(Told::Nothing, seed)).0).collect();
    for told in ALL_TOLD {
        let part = |interval, slow_start| {
            mean(told, &best, || gateway(told, Weight::Fixed(1.0), interval, slow_start))
        };
        let [neither, found, ramp] = [part(0.1, 0.0), part(2.0, 0.0), part(0.1, 10.0)];
        let both = part(2.0, 10.0);
        let auto = mean(told, &best, || gateway(told, Weight::Auto, 2.0, 10.0));
        println!(
            "crash, {told:?}: {neither:.4} without slow start and with a check each 0.1 s, {found:.4} each 2 s, {ramp:.4} with \
             slow start, {both:.4} with both; auto {auto:.4}"
        );
        assert!(neither >= 0.995 && both >= 0.99 && auto >= 0.99, "{told:?}");
    }
}

fn most(samples: &[Sample], from: f64, to: f64) -> usize {
    let during = samples.iter().filter(|sample| (from..to).contains(&sample.at));
    during.map(|sample| sample.in_flight[0]).max().unwrap_or(0)
}

/// A node that is slow at first gets little while it is, and all when it is warm.
#[test]
fn one_that_comes_back_cold_earns_its_share_as_slowly_as_it_answers() {
    for told in ALL_TOLD {
        let lived = |speed: f64, slow_start: f64| {
            let mut scene = scene(told, 1);
            scene.changes.push((START, 0, Change::Speed(speed)));
            scene.changes.push((START + 3.0, 0, Change::Speed(1.0)));
            let mut gateway = gateway(told, Weight::Fixed(1.0), 0.1, slow_start);
            let outcome = run(&scene, &mut gateway);
            (most(&gateway.samples, START, START + 2.0), most(&gateway.samples, START, 20.0), outcome)
        };
        let [(warm, ..), (cold, all, with), (run_over, _, without)] =
            [lived(1.0, 10.0), lived(0.1 * SLOW, 10.0), lived(0.1 * SLOW, 0.0)];
        println!(
            "{told:?}: 2 s after its return it has {warm} if it is warm, {cold} if it is cold, {run_over} without slow start; \
             {all} in the end; {:.1} and {:.1} s, p99 {:.1} and {:.1} s",
            with.wall, without.wall, with.p99, without.p99
        );
        assert!(warm >= 180 && run_over >= 180, "{warm} {run_over}");
        assert!(cold <= 80, "no more than by time: {cold}");
        assert!(all >= 180, "{all}");
    }
}
