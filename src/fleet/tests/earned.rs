//! A returned node earns more of its share by its answers; `health/ramp.rs` tests how much.

use super::*;

/// A pool in which `a` has just returned, and has not answered anything yet.
fn back(change: impl FnOnce(&mut config::Health)) -> Bench {
    let mut bench = Bench::with(2, change);
    bench.bring_to_probing("a");
    bench.serve("a").expect("back");
    bench
}

fn share(bench: &Bench) -> f64 {
    bench.snapshot("a").share
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// One good answer of `a`.
fn answer(bench: &Bench) {
    let mut lease = bench.on("a");
    lease.good_head(bench.now);
    lease.answered(bench.now);
    lease.settle(Outcome::Ok, bench.now);
}

/// Each row: the actions of `a` after its return, and the resulting share.
#[test]
fn good_answers_and_pieces_of_streams_raise_the_share() {
    type Does<'a> = &'a dyn Fn(&mut Bench);
    let table: [(&str, Does, f64); 11] = [
        ("nothing", &|_| {}, 0.05),
        ("an answer", &|bench| answer(bench), 0.2),
        ("three", &|bench| (0..3).for_each(|_| answer(bench)), 1.0),
        ("a 404, or what is no work", &|bench| drop(bench.serve("a")), 0.05),
        ("a client that left", &|bench| assert!(bench.once("a", Outcome::ClientGone).is_none()), 0.05),
        (
            "a broken stream",
            &|bench| {
                let mut lease = bench.on("a");
                lease.worked(30, bench.now);
                lease.settle(Outcome::Truncated, bench.now);
            },
            0.05,
        ),
        (
            "a failure after answers",
            &|bench| {
                (0..3).for_each(|_| answer(bench));
                bench.fail("a", 1);
            },
            0.05,
        ),
        (
            "it says it is full",
            &|bench| {
                (0..3).for_each(|_| answer(bench));
                let lease = bench.on("a");
                lease.busy(None, bench.now);
                lease.settle(Outcome::Busy, bench.now);
            },
            0.05,
        ),
        (
            "time passes, and an answer",
            &|bench| {
                bench.pass(1.0);
                answer(bench);
            },
            0.4,
        ),
        (
            "streams: 64 events of two",
            &|bench| {
                let mut leases = [bench.on("a"), bench.on("a")];
                for lease in &mut leases {
                    (0..32).for_each(|_| lease.worked(1, bench.now));
                }
                bench.pool.tick(bench.now);
            },
            0.2,
        ),
        (
            "streams: half of that",
            &|bench| {
                let mut leases = [bench.on("a"), bench.on("a")];
                (0..32).for_each(|_| leases[0].worked(1, bench.now));
                bench.pool.tick(bench.now);
            },
            0.125,
        ),
    ];
    for (name, does, want) in table {
        let mut bench = back(|_| {});
        does(&mut bench);
        assert!(near(share(&bench), want), "{name}: {}, not {want}", share(&bench));
    }
}

#[test]
fn work_done_before_the_return_does_not_count() {
    let mut bench = Bench::new(2);
    let mut old = bench.on("a");
    for drained in [true, false] {
        (0..1000).for_each(|_| old.worked(1, bench.now));
        bench.pool.tick(bench.now);
        bench.conf.nodes[0].drain = drained;
        bench.pool.configure(&bench.conf, bench.now);
    }
    bench.pool.tick(bench.now);
    assert!(near(share(&bench), 0.05));
}

#[test]
fn each_return_starts_over() {
    let mut bench = back(|_| {});
    (0..3).for_each(|_| answer(&bench));
    assert!(near(share(&bench), 1.0));
    bench.bring_to_probing("a");
    assert!(bench.serve("a").is_some());
    assert!(near(share(&bench), 0.05));
}

#[test]
fn failures_of_attempts_older_than_the_ejection_do_not_lower_the_share() {
    let mut bench = Bench::new(2);
    let old: Vec<_> = (0..2).map(|_| bench.on("a")).collect();
    bench.bring_to_probing("a");
    bench.serve("a").expect("back");
    for _ in 0..6 {
        answer(&bench);
    }
    let before = share(&bench);
    assert!(before > 0.5);
    for lease in old {
        lease.settle(Outcome::Reset, bench.now);
    }
    assert!(share(&bench) >= before);
}

#[test]
fn waiting_requests_get_the_room_that_answers_earn() {
    let mut conf = conf(nodes(1));
    conf.nodes[0].max_in_flight = MaxInFlight::Fixed(40);
    let mut bench = Bench::of(conf);
    bench.bring_to_probing("a");
    bench.serve("a").expect("back");
    let mut held: Vec<_> = std::iter::from_fn(|| bench.lease().ok()).collect();
    assert_eq!(held.len(), 2);
    bench.pool.tick(bench.now);
    let mut waiting: Vec<_> = (0..20).map(|_| bench.waits()).collect();
    for mut lease in held.drain(..) {
        lease.answered(bench.now);
        lease.settle(Outcome::Ok, bench.now);
    }
    bench.pool.tick(bench.now);
    let served: Vec<_> = waiting.iter_mut().filter_map(|one| one.look(&bench)).collect();
    assert!(served.len() >= 8, "{}", served.len());
    assert!(bench.lease().is_err(), "as many are served as there is room for");
}
