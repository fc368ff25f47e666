//! `weight: auto` in a pool: the work that is learned from, the times when it is, and the status shown.

use super::*;
use crate::config::Weight;
use crate::fleet::WeightFrom;

fn auto(count: usize) -> Bench {
    let mut conf = conf(nodes(count));
    conf.nodes.iter_mut().for_each(|node| node.weight = Weight::Auto);
    Bench::of(conf)
}

/// Runs rounds in which each of these nodes streams this many tokens in a tenth of a second.
fn work(bench: &mut Bench, rounds: usize, each: &[(&str, u64)]) {
    for _ in 0..rounds {
        let leases: Vec<_> = each.iter().map(|(name, tokens)| (bench.on(name), *tokens)).collect();
        bench.pass(0.1);
        for (mut lease, tokens) in leases {
            lease.worked(tokens, bench.now);
            lease.settle(Outcome::Ok, bench.now);
        }
        bench.pool.tick(bench.now);
    }
}

fn weight(bench: &Bench, name: &str) -> f64 {
    bench.snapshot(name).weight
}

#[test]
fn the_faster_node_gets_more_and_says_why() {
    let mut bench = auto(2);
    assert_eq!(bench.snapshot("a").weight_from, WeightFrom::TooLittle { seen: 0.0 });
    work(&mut bench, 300, &[("a", 5), ("b", 10)]);
    let (a, b) = (weight(&bench, "a"), weight(&bench, "b"));
    assert!(b / a > 3.0 && (a * b).ln().abs() < 0.2, "{a} {b}");
    let WeightFrom::Seen { tokens, rate } = bench.snapshot("b").weight_from else { panic!("it was seen") };
    assert!((rate - 100.0).abs() < 1.0 && tokens > 1000.0, "{rate} {tokens}");
    let held: Vec<_> = (0..60).map(|_| bench.lease().expect("a node")).collect();
    assert_eq!(bench.snapshot("b").in_flight, (60.0 * b / (a + b)).round() as u32);
    drop(held);
}

#[test]
fn an_answer_that_reports_no_tokens_counts_once() {
    let mut bench = auto(2);
    for _ in 0..100 {
        let (mut a, mut b) = (bench.on("a"), bench.on("b"));
        bench.pass(0.1);
        a.worked(50, bench.now);
        a.answered(bench.now);
        b.answered(bench.now);
        b.answered(bench.now);
        drop((a, b));
    }
    bench.pool.tick(bench.now);
    let seen = |name: &str| match bench.snapshot(name).weight_from {
        WeightFrom::Seen { rate, .. } => rate.round(),
        other => panic!("{other:?}"),
    };
    assert_eq!((seen("a"), seen("b")), (500.0, 80.0));
}

#[test]
fn failures_teach_nothing() {
    let mut bench = auto(2);
    for _ in 0..200 {
        let (a, mut b) = (bench.on("a"), bench.on("b"));
        bench.pass(0.001);
        a.settle(Outcome::Busy, bench.now);
        bench.pass(0.099);
        b.worked(10, bench.now);
        b.settle(Outcome::Ok, bench.now);
        bench.pool.tick(bench.now);
    }
    assert_eq!(bench.snapshot("a").weight_from, WeightFrom::TooLittle { seen: 0.0 });
    assert_eq!(weight(&bench, "a"), 1.0);
}

#[test]
fn nothing_is_learned_during_a_slow_start_and_the_weight_stays() {
    let mut bench = auto(3);
    work(&mut bench, 300, &[("a", 10), ("b", 5), ("c", 5)]);
    let before = weight(&bench, "a");
    bench.bring_to_probing("a");
    bench.serve("a").expect("back");
    work(&mut bench, 50, &[("a", 1000), ("b", 5), ("c", 5)]);
    assert_eq!(bench.snapshot("a").weight_from, WeightFrom::Before);
    assert_eq!(weight(&bench, "a"), before);
    bench.pass(10.0);
    work(&mut bench, 50, &[("a", 5), ("b", 5), ("c", 5)]);
    assert!(weight(&bench, "a") < before, "learning resumes from the old weight");
}

#[test]
fn a_reload_keeps_learned_weights_and_switches_learning_on_and_off() {
    let mut bench = auto(2);
    work(&mut bench, 300, &[("a", 10), ("b", 5)]);
    let learned = weight(&bench, "a");
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(weight(&bench, "a"), learned);
    bench.conf.nodes[0].weight = Weight::Fixed(2.0);
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!((weight(&bench, "a"), bench.snapshot("a").weight_from), (2.0, WeightFrom::Config));
    work(&mut bench, 300, &[("a", 10), ("b", 5)]);
    assert!((weight(&bench, "b") - 1.0).abs() < 0.01, "a node alone is the mean: {}", weight(&bench, "b"));
    bench.conf.nodes[0].weight = Weight::Auto;
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(bench.snapshot("a").weight_from, WeightFrom::TooLittle { seen: 0.0 });
}

#[test]
fn a_night_without_requests_changes_nothing() {
    let mut bench = auto(2);
    work(&mut bench, 300, &[("a", 5), ("b", 10)]);
    let before = bench.snapshot("a");
    for _ in 0..5000 {
        bench.pass(10.0);
        bench.pool.tick(bench.now);
    }
    assert_eq!(bench.snapshot("a").weight_from, before.weight_from);
    assert_eq!(weight(&bench, "a"), before.weight);
}
