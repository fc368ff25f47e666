//! Wake-ups: the waiting requests that are woken when a slot is given back or a node changes.

use super::*;
use event_listener::Listener;

fn is_woken(listener: event_listener::EventListener) -> bool {
    listener.wait_timeout(Duration::ZERO).is_some()
}

#[test]
fn each_slot_that_comes_back_wakes_one() {
    let bench = Bench::new(1);
    let held: Vec<_> = (0..3).map(|_| bench.on("a")).collect();
    let waiting: Vec<_> = (0..4).map(|_| bench.pool.changed(&[])).collect();
    for lease in held {
        drop(lease);
    }
    let woken = waiting.into_iter().map(is_woken).collect::<Vec<_>>();
    assert_eq!(woken, [true, true, true, false]);
}

#[test]
fn a_settled_lease_wakes_one_too() {
    let bench = Bench::new(1);
    let held = [bench.on("a"), bench.on("a")];
    let waiting: Vec<_> = (0..3).map(|_| bench.pool.changed(&[])).collect();
    for lease in held {
        lease.settle(Outcome::Ok, bench.now);
    }
    assert_eq!(waiting.into_iter().map(is_woken).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn a_change_wakes_all() {
    let mut bench = Bench::new(2);
    bench.bring_to_probing("a");
    let waiting: Vec<_> = (0..3).map(|_| bench.pool.changed(&[])).collect();
    bench.serve("a");
    assert!(waiting.into_iter().all(is_woken));
}

#[test]
fn a_request_that_cannot_use_a_slot_does_not_keep_it_from_another() {
    let bench = Bench::of(conf(vec![
        config::Node { max_in_flight: Some(1), ..node("a", "10.0.0.1", 1) },
        config::Node { max_in_flight: Some(1), ..node("b", "10.0.0.1", 2) },
    ]));
    let (on_a, _on_b) = (bench.on("a"), bench.on("b"));
    // it has tried a, and waits for b
    let tried = [on_a.key()];
    let picky = bench.pool.changed(&tried);
    let other = bench.pool.changed(&[]);
    drop(on_a);
    assert!(is_woken(picky), "the slot may be one that it can use");
    assert_eq!(bench.pool.lease(&tried, bench.now).expect_err("a has failed it"), Refusal::Full);
    assert!(is_woken(other));
    assert!(bench.lease().is_ok());
}

/// Waiting requests may have been asleep since before the refusal.
#[test]
fn a_node_usable_again_after_a_refusal_wakes_as_many_as_it_has_room_for() {
    let mut bench =
        Bench::of(conf(vec![config::Node { max_in_flight: Some(2), ..node("a", "10.0.0.1", 1) }]));
    bench.on("a").settle(Outcome::Connect, bench.now);
    let waiting: Vec<_> = (0..3).map(|_| bench.pool.changed(&[])).collect();
    bench.pool.tick(bench.now);
    bench.pass(1.0);
    bench.pool.tick(bench.now);
    assert_eq!(waiting.into_iter().map(is_woken).collect::<Vec<_>>(), [true, true, false]);
}

/// The full node would be tried first, because its failure is longer ago.
#[test]
fn among_nodes_already_tried_one_with_room_beats_a_full_one() {
    let bench = Bench::of(conf(vec![
        config::Node { max_in_flight: Some(1), ..node("a", "10.0.0.1", 1) },
        config::Node { max_in_flight: Some(2), ..node("b", "10.0.0.1", 2) },
    ]));
    let (on_a, on_b) = (bench.on("a"), bench.on("b"));
    let tried = [on_a.key(), on_b.key()];
    let again = bench.pool.lease_again(&tried, &[], bench.now).expect("b has room");
    assert_eq!(&*again.node().name, "b");
    assert_eq!(bench.pool.lease_again(&tried, &[], bench.now).expect_err("both are full"), Refusal::Full);
    drop(on_a);
    let again = bench.pool.lease_again(&tried, &[], bench.now).expect("a has room");
    assert_eq!(&*again.node().name, "a");
}
