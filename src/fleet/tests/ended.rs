//! Requests that have ended, and readiness: read without a snapshot.

use super::*;
use crate::fleet::Finished;

fn ended(now: Instant) -> Finished<'static> {
    Finished {
        at: now,
        status: 200,
        class: config::Class::Batch,
        duration: seconds(1.0),
        queued: Duration::ZERO,
        first_token: None,
        inter_token: None,
        gaps: 0,
        prompt_tokens: 0,
        answer_tokens: 7,
        trace: None,
        request_id: "r",
        server: None,
        last: None,
        call: None,
    }
}

#[test]
fn a_scrape_copies_what_has_ended_without_the_lock_that_leases_need() {
    let bench = Bench::new(1);
    bench.pool.count_finished(&ended(bench.now));
    let held = bench.pool.table();
    let copy = bench.pool.ended(true);
    drop(held);
    let told: Vec<_> = copy.timings().map(|(class, timings)| (class, timings.answer_tokens)).collect();
    assert_eq!(told, [(config::Class::Batch, 7)]);
    assert_eq!(bench.pool.snapshot(bench.now).counters.requests[&200], 1);
}

#[test]
fn a_pool_is_usable_while_a_node_of_it_gets_requests() {
    let mut bench = Bench::new(2);
    for (drained, want) in [(&[][..], true), (&[0], true), (&[0, 1], false), (&[1], true)] {
        for (place, node) in bench.conf.nodes.iter_mut().enumerate() {
            node.drain = drained.contains(&place);
        }
        bench.pool.configure(&bench.conf, bench.now);
        assert_eq!(bench.pool.has_usable(), want, "{drained:?}");
        let shown = bench.pool.snapshot(bench.now).nodes.iter().any(|node| node.state.is_usable());
        assert_eq!(shown, want, "{drained:?}");
    }
    bench.pool.retire(bench.now);
    assert!(!bench.pool.has_usable());
}
