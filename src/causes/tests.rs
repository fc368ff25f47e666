//! Scenes, and the words for them.

use std::sync::Arc;
use std::time::Duration;

use super::past::{Chosen, Happened};
use super::scene::{GatewayScene, NodeScene, OpenAt, Pace, PoolScene, SourceScene};
use super::{CAUSES_MAX, Scene, causes};
use crate::balance::learned::Work;
use crate::config::Origin;
use crate::fleet::{Drain, NodeState, Reason};
use crate::outcome::Outcome;
use crate::status::Severity;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn node(name: &str) -> NodeScene {
    NodeScene {
        name: name.into(),
        state: NodeState::Up,
        reason: None,
        ejected_for: None,
        drain: Drain::default(),
        is_removed: false,
        origin: Origin::Config,
        in_flight: 12,
        cap: None,
        weight: 1.0,
        share: 1.0,
        silent: Some(Duration::from_millis(20)),
        check: Some(true),
        refuses: Vec::new(),
        happened: happened(&[(Outcome::Ok, 40)], 1000.0),
        open: streams(12, 0, Duration::from_millis(20)),
    }
}

/// Within 10 s: attempts, and tokens in 20 s of requests' time.
fn happened(attempts: &[(Outcome, u64)], tokens: f64) -> Happened {
    let mut all = [0; Outcome::ALL.len()];
    for (place, outcome) in Outcome::ALL.iter().enumerate() {
        all[place] = attempts.iter().find(|(one, _)| one == outcome).map_or(0, |(_, count)| *count);
    }
    let work = Work { units: tokens, seconds: 20.0, pieces: tokens };
    Happened { within: seconds(10), attempts: all, work }
}

fn streams(streams: u32, paused: u32, silent: Duration) -> OpenAt {
    OpenAt { streams, paused, streams_silent: Some(silent), oldest: Some(seconds(100)) }
}

fn pool(nodes: Vec<NodeScene>) -> PoolScene {
    let pace = Pace::of(nodes.iter().filter_map(|node| node.happened.speed()));
    PoolScene { name: "p".into(), nodes, pace, ..PoolScene::default() }
}

fn told(pool: PoolScene) -> Vec<(Severity, String)> {
    let scene = Scene { pools: vec![pool], ..Scene::default() };
    causes(&scene).into_iter().map(|cause| (cause.severity, cause.text)).collect()
}

/// Of a pool with this node and a calm one.
fn of_node(change: impl FnOnce(&mut NodeScene)) -> Vec<(Severity, String)> {
    let mut sick = node("b");
    change(&mut sick);
    told(pool(vec![node("a"), sick]))
}

#[track_caller]
fn says(told: &[(Severity, String)], severity: Severity, text: &str) {
    assert_eq!(told, [(severity, text.to_owned())]);
}

#[test]
fn nothing_stands_out_in_a_calm_fleet() {
    assert_eq!(told(pool(vec![node("a"), node("b")])), []);
    let idle = |node: &mut NodeScene| {
        (node.in_flight, node.open, node.happened) = (0, OpenAt::default(), Happened::default());
    };
    assert_eq!(of_node(idle), [], "an idle node is well");
    let long_prompt = |node: &mut NodeScene| {
        (node.silent, node.open) = (Some(seconds(50)), OpenAt::default());
    };
    assert_eq!(of_node(long_prompt), [], "a long prompt takes its time");
}

#[test]
fn a_crash_and_the_return() {
    let out = |reason| {
        of_node(|node| {
            (node.state, node.reason, node.in_flight) = (NodeState::Ejected, Some(reason), 0);
            (node.ejected_for, node.open) = (Some(seconds(8)), OpenAt::default());
        })
    };
    says(
        &out(Reason::Failures(Outcome::Connect)),
        Severity::Bad,
        "b takes no connection: its server is down, or its address is wrong; it gets no requests for 8 s more",
    );
    says(
        &out(Reason::ProbeFailed(Outcome::Reset)),
        Severity::Bad,
        "b failed the request that tried it again: it breaks the connection before it answers: its server has crashed; \
         it gets no requests for 8 s more",
    );
    says(
        &out(Reason::Operator),
        Severity::Info,
        "b was ejected by an operator; it gets no requests for 8 s more",
    );
    let probing = of_node(|node| node.state = NodeState::Probing);
    says(&probing, Severity::Info, "b answers again: one request at a time tries it");
    let back = of_node(|node| node.share = 0.4);
    says(&back, Severity::Info, "b is back: its share rises, and is 40 % now (slow start)");
    let drains = of_node(|node| {
        (node.state, node.drain.by_operator) = (NodeState::Draining, true);
    });
    says(&drains, Severity::Info, "b is drained by an operator: 12 requests left on it");
}

#[test]
fn a_hang_behind_a_passing_check() {
    let hangs = of_node(|node| {
        (node.silent, node.open) = (Some(seconds(40)), streams(12, 12, seconds(40)));
    });
    says(
        &hangs,
        Severity::Bad,
        "b has been silent for 40 s with 12 requests, its health check passes: it hangs",
    );
    let whole_answers = of_node(|node| {
        node.check = None;
        (node.silent, node.open) = (Some(seconds(90)), OpenAt::default());
    });
    says(
        &whole_answers,
        Severity::Warn,
        "b has sent nothing for 90 s with 12 requests, while other nodes answer: it hangs, or has longer answers to give",
    );
    let few = of_node(|node| {
        (node.in_flight, node.silent, node.open) = (3, Some(seconds(90)), OpenAt::default());
    });
    assert_eq!(few, [], "three answers may be long ones");
    let mut both = [node("a"), node("b")];
    both.iter_mut().for_each(|node| (node.silent, node.open) = (Some(seconds(90)), OpenAt::default()));
    assert_eq!(told(pool(both.into())), [], "long answers of all nodes are no hang of one");
}

#[test]
fn a_slow_node() {
    let slow = of_node(|node| node.happened = happened(&[(Outcome::Ok, 9)], 300.0));
    says(
        &slow,
        Severity::Warn,
        "b is slow: a request there gets 15 tokens a second, on other nodes 50; it has 12 in flight (weight: auto gives it fewer)",
    );
    assert_eq!(of_node(|node| node.happened = happened(&[(Outcome::Ok, 9)], 199.0)), [], "too few to tell");
    let mixed = |speeds: &[f64]| {
        let nodes = speeds.iter().map(|tokens| NodeScene { happened: happened(&[], *tokens), ..node("n") });
        told(pool(nodes.collect()))
    };
    assert_eq!(
        mixed(&[260.0, 300.0, 330.0, 400.0, 440.0, 500.0, 560.0, 620.0]),
        [],
        "answers that differ widely"
    );
    assert_eq!(mixed(&[300.0, 990.0, 1000.0, 1000.0, 1010.0, 1020.0]).len(), 1, "one that stands out");
}

#[test]
fn failures_and_refusals() {
    let fails =
        of_node(|node| node.happened = happened(&[(Outcome::Ok, 20), (Outcome::EngineError, 5)], 1000.0));
    says(
        &fails,
        Severity::Bad,
        "b answers with error events: the engine behind its server is broken: 5 of its last 25 attempts failed within 10 s",
    );
    assert_eq!(
        of_node(|node| node.happened = happened(&[(Outcome::Ok, 50), (Outcome::Reset, 2)], 1000.0)),
        []
    );
    let full = of_node(|node| node.happened = happened(&[(Outcome::Ok, 20), (Outcome::Busy, 10)], 1000.0));
    says(
        &full,
        Severity::Warn,
        "b says that it is full (503, 429): 10 of its last 30 attempts within 10 s; a max_in_flight keeps requests here until it has room",
    );
    let wrong = of_node(|node| node.refuses = vec![("llama".into(), 404), ("qwen".into(), 404)]);
    says(
        &wrong,
        Severity::Warn,
        "b answers 404 for \"llama\", and 1 model besides, which other nodes serve: it does not serve that model, and is skipped for it",
    );
}

#[test]
fn a_cache_that_is_full() {
    let thrashes = of_node(|node| {
        node.cap = Some(64);
        node.open = streams(60, 4, Duration::from_millis(10));
    });
    says(
        &thrashes,
        Severity::Warn,
        "b preempts: 4 of its 60 streams have paused while the others go on; its cap of 64 is above what its KV cache holds",
    );
    assert_eq!(
        of_node(|node| node.open = streams(60, 1, Duration::from_millis(10))),
        [],
        "one may have its reasons"
    );
}

#[test]
fn a_full_line_and_a_pool_without_nodes() {
    let waiting = |nodes: Vec<NodeScene>| {
        told(PoolScene { queue: 5, oldest: seconds(8), waiting: [2, 3, 0], ..pool(nodes) })
    };
    let full = |name: &str| NodeScene { cap: Some(12), ..node(name) };
    says(
        &waiting(vec![full("a"), full("b")]),
        Severity::Warn,
        "5 requests wait (2 interactive), the longest for 8 s: all 2 nodes that are up are at max_in_flight (24 in all)",
    );
    says(
        &waiting(vec![full("a"), node("b")]),
        Severity::Warn,
        "5 requests wait (2 interactive), the longest for 8 s: those that may serve them have no slot",
    );
    let drained = NodeScene { state: NodeState::Draining, in_flight: 0, ..node("a") };
    let told = waiting(vec![drained]);
    assert_eq!(
        told[0],
        (Severity::Bad, "no node is up: 5 requests wait for one, up to retry.wait".to_owned())
    );
}

fn source(nodes: usize, trouble: Option<&str>) -> SourceScene {
    SourceScene {
        name: "dns n:1".to_owned(),
        nodes,
        trouble: trouble.map(|why| (why.into(), seconds(40))),
        left_out: None,
        left_out_count: 0,
    }
}

#[test]
fn sources_that_fail_or_name_what_cannot_be_used() {
    let with = |nodes, source| told(PoolScene { sources: vec![source], ..pool(nodes) });
    assert_eq!(with(vec![node("a")], source(1, None)), []);
    says(
        &with(vec![node("a")], source(3, Some("no server answers in time"))),
        Severity::Warn,
        "dns n:1 has failed for 40 s: no server answers in time; 3 nodes that it named last stay in use",
    );
    assert_eq!(
        with(vec![], source(0, Some("the server answers REFUSED"))),
        [
            (Severity::Bad, "no source has named a node: requests wait for one, up to retry.wait".to_owned()),
            (
                Severity::Warn,
                "dns n:1 has failed for 40 s: the server answers REFUSED; it has named no nodes".to_owned()
            ),
        ]
    );
    let out = |count| {
        let left_out = Some(("10.0.0.1:1".to_owned(), "why".into()));
        with(vec![node("a")], SourceScene { left_out, left_out_count: count, ..source(2, None) })
    };
    says(&out(1), Severity::Info, "dns n:1 names 10.0.0.1:1, which is left out: why");
    says(&out(2), Severity::Info, "dns n:1 names 2 nodes that are left out, such as 10.0.0.1:1: why");
}

#[test]
fn a_key_that_is_too_hot() {
    let mut fullest = node("b");
    fullest.in_flight = 30;
    let hot = told(PoolScene {
        chosen: Chosen { own: 60, elsewhere: 40, spills: 0 },
        ..pool(vec![node("a"), fullest])
    });
    assert!(
        hot.len() == 1 && hot[0].1.starts_with("40 % of the requests went to another node than their key's"),
        "{hot:?}"
    );
    assert!(hot[0].1.contains("b is the fullest with 30 in flight"), "{hot:?}");
    assert_eq!(
        told(PoolScene {
            chosen: Chosen { own: 90, elsewhere: 10, spills: 0 },
            ..pool(vec![node("a"), node("b")])
        }),
        []
    );
}

#[test]
fn the_gateway_itself() {
    let gateway = GatewayScene {
        reload_error: Some("evenkeel.yaml:7: unknown key \"node\"\n  did you mean nodes?".to_owned()),
        keys_error: Some("keys.yaml:3: keys[0].hash: is no hash".to_owned()),
        generation: 3,
        stopping: false,
        requests: 0,
        lost_log_lines: 1,
        refused_connections: 9,
        ..GatewayScene::default()
    };
    let all = causes(&Scene { gateway, pools: Vec::new() });
    let texts: Vec<_> = all.iter().map(|cause| &*cause.text).collect();
    assert_eq!(
        texts,
        [
            "the last reload was refused, generation 3 stays in use: evenkeel.yaml:7: unknown key \"node\"; did you mean nodes?",
            "the file of keys was refused, those read before stay in use: keys.yaml:3: keys[0].hash: is no hash",
            "9 connections refused just now: client.max_connections is reached",
            "1 line of the access log lost just now: the disk is full, or slower than the traffic",
        ]
    );
}

#[test]
fn the_worst_comes_first_and_the_list_is_bounded() {
    let out = |number: usize| NodeScene {
        name: Arc::from(format!("n{number}")),
        state: if number.is_multiple_of(2) { NodeState::Ejected } else { NodeState::Draining },
        reason: Some(Reason::CheckFailed),
        ..node("")
    };
    let all = causes(&Scene { pools: vec![pool((0..1000).map(out).collect())], ..Scene::default() });
    assert_eq!(all.len(), CAUSES_MAX + 1);
    assert_eq!(all[0].severity, Severity::Bad);
    assert!(all.windows(2).all(|pair| pair[0].severity <= pair[1].severity));
    assert!(all[CAUSES_MAX].text.starts_with("951 more"), "{:?}", all[CAUSES_MAX]);
}
