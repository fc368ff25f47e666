//! Tests of the screen on a terminal that is none.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::answers::{Cause, LastFailure, Times};
use super::app::{App, Key};
use super::model::{Model, Picture};
use super::tables::{NODES, REQUESTS};
use super::testing::{node, picture, pool, request};
use super::{plain, screen};

/// Two pools with so many nodes each, and so many requests.
fn fleet(nodes: usize, requests: u64) -> Picture {
    let all = |prefix: &str| -> Vec<_> {
        (0..nodes)
            .map(|place| {
                let mut one =
                    node(&format!("{prefix}{place}"), "up", &[("ok", 900), ("reset", place as u64)]);
                (one.in_flight, one.max_in_flight) = (place as u64, Some(24));
                one
            })
            .collect()
    };
    let mut first = pool("main", all("gpu-"));
    if let Some(sick) = first.nodes.get_mut(1) {
        (sick.state, sick.ejected_for_seconds) = ("ejected".to_owned(), Some(3.2));
        sick.reason = Some("max_fails within fail_timeout (reset)".to_owned());
        sick.last_failure =
            Some(LastFailure { outcome: "reset".to_owned(), time: "2026-01-02T03:04:05Z".to_owned() });
        sick.ttft = Some(Times { p50: Some(0.25), p99: Some(1.5) });
        sick.inter_token = Some(Times { p50: Some(0.021), p99: Some(0.08) });
        sick.tokens_per_second = Some(812.0);
    }
    first.queue = 3;
    let mut picture = picture(vec![first, pool("small", all("b"))]);
    let text = "node gpu-1 is out: connections to it are reset".to_owned();
    picture.status.causes = vec![Cause { severity: "bad".to_owned(), pool: Some("main".to_owned()), text }];
    picture.open.open = requests;
    picture.open.requests =
        (1..=requests).map(|number| request(number, "streaming", number as f64)).collect();
    picture
}

fn model(picture: Picture) -> Model {
    let mut model = Model::new("127.0.0.1:9990", Instant::now());
    model.take(Ok(picture), Instant::now());
    model
}

fn app() -> App {
    App::new(NODES.len(), REQUESTS.len())
}

fn drawn(model: &Model, app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no I/O");
    terminal.draw(|frame| screen::draw(frame, model, app, Instant::now())).expect("no I/O");
    // a screen without columns has no text
    if width == 0 { String::new() } else { terminal.backend().to_string() }
}

#[test]
fn what_matters_most_is_on_every_usual_size() {
    let model = model(fleet(3, 40));
    for (width, height, wanted, unwanted) in [
        (
            60,
            16,
            &["!! main: node gpu-1", "3 waiting", "gpu-1", "ejected 4 s", "in flight", "q quit"][..],
            "open requests",
        ),
        (
            100,
            30,
            &["gpu-1", "ejected 4 s: max", "failed", "load", "open requests: 40", "/v1/chat", "streaming"],
            "last failure",
        ),
        (
            200,
            50,
            &[
                "reset 03:04:05",
                "ttft p50",
                "250ms",
                "1.50s",
                "21.0ms",
                "812",
                "id-40",
                "within fail_timeout (reset)",
            ],
            "never",
        ),
    ] {
        let screen = drawn(&model, &mut app(), width, height);
        for text in wanted {
            assert!(screen.contains(text), "{text:?} is missing in\n{screen}");
        }
        assert!(!screen.contains(unwanted), "{unwanted:?} is in\n{screen}");
    }
}

#[test]
fn the_oldest_request_is_the_first_and_the_end_can_be_reached() {
    let model = model(fleet(3, 40));
    let mut app = app();
    app.press(Key::Tab);
    let screen = drawn(&model, &mut app, 60, 16);
    assert!(screen.contains("▶ open requests: 40, 1 to 10") && screen.contains(" 40s"), "{screen}");
    app.press(Key::End);
    let screen = drawn(&model, &mut app, 60, 16);
    assert!(screen.contains("31 to 40") && screen.contains(" 1.0s"), "{screen}");
    app.press(Key::Char('S'));
    let screen = drawn(&model, &mut app, 60, 16);
    assert!(screen.contains(", 1 to 10") && screen.contains("age▲") && screen.contains(" 1.0s"), "{screen}");
}

#[test]
fn a_filter_counts_what_it_takes() {
    let model = model(fleet(12, 0));
    let mut app = app();
    "/gpu-1\n".chars().for_each(|c| {
        app.press(if c == '\n' { Key::Enter } else { Key::Char(c) });
    });
    let screen = drawn(&model, &mut app, 100, 30);
    assert!(screen.contains("nodes: 24, 3 with \"gpu-1\"") && !screen.contains("gpu-2"), "{screen}");
}

#[test]
fn silence_is_shown_above_what_was_known() {
    let mut model = Model::new("127.0.0.1:9990", Instant::now());
    let later = Instant::now() + Duration::from_secs(60);
    assert!(drawn(&model, &mut app(), 60, 16).contains("asking 127.0.0.1:9990"));
    model.take(Ok(fleet(2, 2)), later);
    model.take(Err("connection refused".to_owned()), later);
    let screen = drawn(&model, &mut app(), 80, 16);
    assert!(screen.contains("!! no answer from 127.0.0.1:9990 since 0 s, trying again"), "{screen}");
    assert!(screen.contains("gpu-1"), "{screen}");
    let block = plain::block(&model, later);
    assert!(block.starts_with("!! no answer") && !block.contains("gpu-1"), "{block}");
}

#[test]
fn a_block_has_every_column_that_has_a_value() {
    let block = plain::block(&model(fleet(2, 1)), Instant::now());
    let lines: Vec<_> = block.lines().collect();
    assert_eq!(lines.len(), 10, "{block}");
    assert_eq!(
        lines[2].split_whitespace().collect::<Vec<_>>().join(" "),
        "pool node state in flight load queue weight share ok failed tok/s ttft p50 ttft p99 token p50 token p99 last failure"
    );
    assert!(lines[4].contains("1/24") && lines[4].ends_with("reset 03:04:05"), "{block}");
    assert!(lines[7].starts_with("number  state") && lines[8].ends_with("id-1"), "{block}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_size_can_be_drawn(
        width in 0_u16..260,
        height in 0_u16..70,
        nodes in 0_usize..40,
        requests in 0_u64..80,
        keys in "[qsS<>/12?pjkGg a]{0,12}",
        name in "\\PC{0,40}",
    ) {
        let mut picture = fleet(nodes, requests);
        picture.status.pools.iter_mut().flat_map(|pool| &mut pool.nodes).for_each(|node| node.name += &name);
        let (model, mut app) = (model(picture), app());
        for key in keys.chars() {
            drawn(&model, &mut app, width, height);
            app.press(Key::Char(key));
        }
        drawn(&model, &mut app, width, height);
    }
}
