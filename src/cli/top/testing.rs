//! Answers of a gateway, for tests.

use super::answers::{Node, Open, Pool, Request, Status};
use super::model::Picture;

pub(super) fn node(name: &str, state: &str, attempts: &[(&str, u64)]) -> Node {
    Node {
        name: name.to_owned(),
        state: state.to_owned(),
        weight: 1.0,
        slow_start_share: 1.0,
        attempts: attempts.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect(),
        ..Node::default()
    }
}

pub(super) fn pool(name: &str, nodes: Vec<Node>) -> Pool {
    Pool { name: name.to_owned(), nodes, ..Pool::default() }
}

pub(super) fn picture(pools: Vec<Pool>) -> Picture {
    let status = Status { version: "1.2.3".to_owned(), pid: 1, pools, ..Status::default() };
    Picture { status, open: Open::default() }
}

pub(super) fn request(number: u64, state: &str, age_seconds: f64) -> Request {
    Request {
        number,
        id: format!("id-{number}"),
        pool: Some("main".to_owned()),
        node: Some("a".to_owned()),
        class: "normal".to_owned(),
        state: state.to_owned(),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        attempts: 1,
        age_seconds,
        tokens: number * 10,
        ..Request::default()
    }
}
