//! A fleet that is full, or still loads: its requests wait in line instead of failing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use evenkeel::sim::Node;
use tokio::task::JoinSet;

use crate::harness::{Answer, Gateway, LIMIT, ask, chat, eventually, fault, nodes, run, within};

/// So many clients at once, each with a request.
fn clients(gateway: &Arc<Gateway>, count: u64) -> JoinSet<Answer> {
    let one = |gateway: Arc<Gateway>| async move { ask(&gateway, chat(&gateway, 1, false)).await };
    (0..count).map(|_| one(Arc::clone(gateway))).collect()
}

#[test]
fn requests_wait_for_a_fleet_that_says_it_is_full() {
    run(async {
        for text in ["status:503", "status:429", "full"] {
            let nodes = nodes(2);
            nodes.iter().for_each(|node| node.set_fault(fault(text)));
            let gateway = Gateway::start(&nodes, "").await;
            let asking = ask(&gateway, chat(&gateway, 1, true));
            let loading = async {
                eventually(LIMIT, "a node is asked again", || {
                    nodes.iter().any(|node| node.stats().received > 1)
                })
                .await;
                nodes.iter().for_each(Node::clear_faults);
            };
            let (answer, ()) = tokio::join!(asking, loading);
            assert_eq!(answer.status, 200, "{text}: {}", answer.text());
            assert!(answer.text().ends_with("data: [DONE]\n\n"), "{text}");
        }
    });
}

/// 40 clients wait, and each node is asked about once a second all the same.
#[test]
fn a_full_fleet_is_not_hammered_by_those_who_wait() {
    run(async {
        const CLIENTS: u64 = 40;
        let nodes = nodes(2);
        nodes.iter().for_each(|node| node.set_fault(fault("status:503")));
        let gateway = Arc::new(Gateway::start(&nodes, "retry: { wait: 3s }").await);
        let began = Instant::now();
        for answer in within(LIMIT, "all have an answer", clients(&gateway, CLIENTS).join_all()).await {
            assert_eq!(answer.status, 503);
            assert!(answer.field("retry-after").is_some(), "it says when to come back");
        }
        let seconds = began.elapsed().as_secs() + 1;
        gateway.at_rest().await;
        for (name, node) in ["a", "b"].into_iter().zip(&nodes) {
            let asked = node.stats().received;
            assert!(asked > CLIENTS && asked <= CLIENTS + 2 * seconds, "{asked} in {seconds} s");
            assert_eq!((gateway.state(name), gateway.attempts(name, Outcome::Busy)), (NodeState::Up, asked));
        }
    });
}

#[test]
fn those_who_wait_get_in_soon_once_there_is_room() {
    run(async {
        let nodes = nodes(1);
        nodes[0].set_fault(fault("status:503"));
        let gateway = Arc::new(Gateway::start(&nodes, "").await);
        let asking = within(LIMIT, "all have an answer", clients(&gateway, 40).join_all());
        let loading = async {
            eventually(LIMIT, "all have asked", || nodes[0].stats().received >= 40).await;
            nodes[0].clear_faults();
            Instant::now()
        };
        let (answers, since) = tokio::join!(asking, loading);
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    });
}
