//! Tests of the whole demo, sped up: a crash and a return within three seconds.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;

use super::plain::Plain;
use super::setup::Setup;
use super::show::{Ended, Face, show};
use super::stage::Stage;
use super::story::{Story, Times};
use super::summary::{Part, Summary};
use crate::sim::StepTimes;
use crate::sim::load::Sizes;

/// A writer whose text can be read while it is being written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn fast() -> Setup {
    fast_as(Setup::demo("127.0.0.1:0".parse().expect("an address")).expect("a free port"))
}

fn fast_as(setup: Setup) -> Setup {
    Setup {
        admin: None,
        tokens: Sizes::Uniform { min: 5, max: 30 },
        step: StepTimes { base: ms(5), ..StepTimes::default() },
        fail_timeout: ms(600),
        probe_pass: ms(200),
        slow_start: ms(300),
        times: Times { first: ms(600), every: ms(60_000), startup: ms(400) },
        ..setup
    }
}

/// Plays the demo to its end: all that it says, and its summary. No client has met a failure.
fn played(setup: &Setup) -> (String, Summary) {
    let mut stage = Stage::start(setup).expect("the demo starts");
    let said = Shared::default();
    let mut face = Face::Plain(Plain::new(Box::new(said.clone())));
    let mut story = Story::new(setup.times);
    let ended = show(&mut stage, &mut story, &mut face, Some(ms(3000)), &AtomicBool::new(false));
    assert_eq!(ended, Ended::InTime);
    let summary = stage.end(false).expect("the gateway ends");
    let text = String::from_utf8(said.0.lock().clone()).expect("UTF-8");
    assert!(summary.is_clean(), "{text}{summary}");
    (text, summary)
}

#[test]
fn a_node_crashes_and_comes_back_and_no_client_notices() {
    let setup = fast();
    let (text, summary) = played(&setup);
    let story = format!("{text}{summary}");

    let [Part { class: None, report }] = &summary.parts[..] else { panic!("{story}") };
    assert_eq!(report.sent, report.succeeded, "{story}");
    assert!(report.succeeded > 200, "{story}");
    let pool = summary.pool.as_ref().expect("a pool");
    assert_eq!(pool.nodes.iter().map(|node| node.ejections).collect::<Vec<_>>(), [1, 0], "{story}");
    assert!(pool.nodes.iter().all(|node| node.in_flight == 0), "{story}");
    for what in [
        "demo kills a",
        "gateway ejects a for 600ms",
        "0 failed at clients",
        "demo sees a run again",
        "gateway hears from a",
        "gateway readmits a",
        "demo sees a with its share again",
        "curl -i http://127.0.0.1:",
    ] {
        assert!(text.contains(what), "{what:?} is missing in\n{story}");
    }
}

#[test]
fn a_batch_waits_and_people_do_not_while_a_node_crashes() {
    let setup = fast_as(Setup::classes("127.0.0.1:0".parse().expect("an address")).expect("a free port"));
    let (text, summary) = played(&setup);
    let story = format!("{text}{summary}");

    let [people, batch] = &summary.parts[..] else { panic!("{story}") };
    assert!(people.report.succeeded > 10 && batch.report.succeeded > 50, "{story}");
    assert!(people.report.latency().at(0.5) < batch.report.latency().at(0.5) / 2, "{story}");
    for what in [
        "3 people and a batch of 40 ask",
        "lets nodes take 8 at a time, the last 2 only from people",
        "/8 in flight",
        " requests retried or in line for it, 0 failed",
        " batch in line",
        "demo sees a with its share again",
        "requests of class interactive in",
        "requests of class batch in",
    ] {
        assert!(story.contains(what), "{what:?} is missing in\n{story}");
    }
}

#[test]
fn the_demo_ends_at_once_when_told_to() {
    let setup = fast();
    let mut stage = Stage::start(&setup).expect("the demo starts");
    let mut face = Face::Plain(Plain::new(Box::new(io::sink())));
    let ended = show(&mut stage, &mut Story::new(setup.times), &mut face, None, &AtomicBool::new(true));
    assert_eq!(ended, Ended::Asked);
    let summary = stage.end(true).expect("the gateway ends");
    assert!(summary.is_clean());
}
