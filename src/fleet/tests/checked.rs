//! The active check: ejections and returns, slow answers, and the schedule.

use super::*;
use crate::config::Check;
use crate::fleet::CheckAnswer;

fn with_check(rise: u32, fall: u32) -> Bench {
    let check = Check { path: "/health".into(), interval: seconds(5.0), timeout: seconds(2.0), rise, fall };
    let bench = Bench::with(2, |health| health.check = Some(check));
    // the first round sets the phases: a is due at once, b half an interval later
    for question in bench.questions(QuestionKind::Check) {
        bench.pool.answer(&question, true, bench.now);
    }
    bench
}

/// Runs the next round of checks with these results.
fn round(bench: &mut Bench, results: [(&str, bool); 2]) {
    let mut asked = Vec::new();
    // an interval, plus the tenth by which it may vary
    bench.pass(5.5);
    for question in bench.questions(QuestionKind::Check) {
        let (name, passed) =
            results.into_iter().find(|(name, _)| **name == *question.node.name).expect("a node");
        bench.pool.answer(&question, passed, bench.now);
        asked.push(name);
    }
    asked.sort_unstable();
    assert_eq!(asked, ["a", "b"]);
}

#[test]
fn fall_failures_in_a_row_eject() {
    let mut bench = with_check(1, 3);
    round(&mut bench, [("a", false), ("b", true)]);
    round(&mut bench, [("a", false), ("b", true)]);
    round(&mut bench, [("a", true), ("b", true)]);
    round(&mut bench, [("a", false), ("b", true)]);
    round(&mut bench, [("a", false), ("b", true)]);
    assert!(bench.is_up("a"));
    round(&mut bench, [("a", false), ("b", true)]);
    assert!(!bench.is_up("a"));
}

#[test]
fn rise_passes_in_a_row_end_an_ejection_early() {
    let mut bench = with_check(2, 1);
    round(&mut bench, [("a", false), ("b", true)]);
    assert!(!bench.is_up("a"));
    round(&mut bench, [("a", true), ("b", true)]);
    assert!(!bench.is_up("a"));
    round(&mut bench, [("a", true), ("b", true)]);
    assert!(bench.is_up("a"));
    assert!(bench.snapshot("a").share < 0.06, "with slow start");
}

#[test]
fn a_check_never_ejects_the_last_node_that_is_up() {
    let mut bench = with_check(1, 1);
    for _ in 0..5 {
        round(&mut bench, [("a", false), ("b", false)]);
    }
    let up = ["a", "b"].into_iter().filter(|name| bench.is_up(name)).count();
    assert_eq!(up, 1);
}

#[test]
fn passes_from_before_a_crash_end_no_ejection() {
    let mut bench = with_check(2, 3);
    for _ in 0..10 {
        round(&mut bench, [("a", true), ("b", true)]);
    }
    bench.pass(5.0);
    let before = bench.questions(QuestionKind::Check);
    bench.fail("a", 5);
    for question in &before {
        bench.pool.answer(question, true, bench.now);
    }
    assert!(!bench.is_up("a"), "the check was sent before the crash");
    round(&mut bench, [("a", true), ("b", true)]);
    assert!(!bench.is_up("a"), "one of two");
    round(&mut bench, [("a", true), ("b", true)]);
    assert!(bench.is_up("a"));
}

/// The `/health` check keeps passing while the engine answers only 500.
#[test]
fn a_check_that_cannot_see_the_fault_ends_no_ejection() {
    for outcome in [Outcome::Http5xx, Outcome::Timeout] {
        let mut bench = with_check(1, 3);
        for _ in 0..5 {
            bench.once("a", outcome);
        }
        assert!(!bench.is_up("a"));
        for _ in 0..5 {
            round(&mut bench, [("a", true), ("b", true)]);
            assert!(!bench.is_up("a"), "{outcome}");
        }
        // once the check has failed, a pass is news
        round(&mut bench, [("a", false), ("b", true)]);
        round(&mut bench, [("a", true), ("b", true)]);
        assert!(bench.is_up("a"), "{outcome}");
    }
}

#[test]
fn a_blind_check_does_not_spare_the_probe() {
    let mut bench = with_check(1, 3);
    for _ in 0..5 {
        bench.once("a", Outcome::Http5xx);
    }
    bench.pass(bench.out_for("a"));
    assert_eq!(bench.ask(true), ["a"]);
    bench.questions(QuestionKind::Check);
    assert_eq!(bench.state("a"), NodeState::Probing);
    let probe = bench.on("a");
    bench.pass(5.0);
    for question in bench.questions(QuestionKind::Check) {
        bench.pool.answer(&question, true, bench.now);
    }
    assert_eq!(bench.state("a"), NodeState::Probing, "the probe is still running");
    probe.settle(Outcome::Http5xx, bench.now);
    assert!((bench.out_for("a") - 60.0).abs() < 1e-6);
}

#[test]
fn a_check_that_a_reload_took_away_comes_back() {
    let mut bench = with_check(1, 3);
    bench.pass(5.5);
    let under_way = bench.questions(QuestionKind::Check);
    assert_eq!(under_way.len(), 2);
    let with = bench.conf.clone();
    bench.conf.health.check = None;
    bench.pool.configure(&bench.conf, bench.now);
    for question in &under_way {
        bench.pool.answer(question, true, bench.now);
    }
    bench.pool.configure(&with, bench.now);
    bench.pass(5.5);
    assert_eq!(bench.questions(QuestionKind::Check).len(), 2);
}

/// A round in which `b` passes and `a` is slow; `a` may show in between that it is at work.
fn slow_round(bench: &mut Bench, shows: Option<&Lease>) {
    bench.pass(5.5);
    let asked = bench.questions(QuestionKind::Check);
    bench.pass(1.0);
    if let Some(lease) = shows {
        lease.progress(bench.now);
    }
    bench.pass(1.0);
    for question in asked {
        let answer = if *question.node.name == *"a" { CheckAnswer::Slow } else { CheckAnswer::Passed };
        bench.pool.answer(&question, answer, bench.now);
    }
}

#[test]
fn a_node_at_work_may_be_slow_to_answer_its_check() {
    let mut bench = with_check(1, 1);
    let streams = bench.on("a");
    for _ in 0..20 {
        slow_round(&mut bench, Some(&streams));
        assert!(bench.is_up("a"));
    }
    slow_round(&mut bench, None);
    assert!(!bench.is_up("a"), "it was not at work");
}

#[test]
fn a_refusing_node_is_ejected_whatever_its_streams_show() {
    let mut bench = with_check(1, 1);
    let streams = bench.on("a");
    bench.pass(5.5);
    for question in bench.questions(QuestionKind::Check) {
        streams.progress(bench.now);
        bench.pool.answer(&question, CheckAnswer::Failed, bench.now);
    }
    assert!(!bench.is_up("a"));
}

#[test]
fn a_slow_check_of_a_working_node_proves_nothing() {
    for (shows, sees) in [(true, false), (false, true)] {
        let mut bench = with_check(1, 3);
        let streams = bench.on("a");
        for _ in 0..5 {
            bench.once("a", Outcome::Http5xx);
        }
        slow_round(&mut bench, shows.then_some(&streams));
        round(&mut bench, [("a", true), ("b", true)]);
        assert_eq!(bench.is_up("a"), sees, "shows: {shows}");
    }
}

#[test]
fn a_question_says_whether_the_node_has_work() {
    let mut bench = with_check(1, 3);
    let _held = bench.on("a");
    bench.pass(5.5);
    let mut has_work: Vec<_> = bench
        .questions(QuestionKind::Check)
        .iter()
        .map(|question| (question.node.name.to_string(), question.has_work))
        .collect();
    has_work.sort();
    assert_eq!(has_work, [("a".to_owned(), true), ("b".to_owned(), false)]);
}

#[test]
fn nodes_are_not_checked_in_lockstep() {
    let mut bench = with_check(1, 3);
    let mut asked: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..60_000 {
        bench.pass(0.01);
        for question in bench.questions(QuestionKind::Check) {
            let at = (bench.now - bench.start).as_secs_f64();
            asked[usize::from(*question.node.name == *"b")].push(at);
            bench.pool.answer(&question, true, bench.now);
        }
    }
    for times in &asked {
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (least, most) =
            (pauses.iter().fold(9.0, |a: f64, b| a.min(*b)), pauses.iter().fold(0.0, |a: f64, b| a.max(*b)));
        assert!((4.49..4.8).contains(&least) && most > 5.2 && most < 5.52, "{least} to {most}");
        assert!((110..=130).contains(&times.len()), "{} in 600 s", times.len());
    }
}

/// The times, in seconds after its ejection, at which `a` is checked while it fails; rounds come every 0.1 s.
fn asked_while_out(reason: Outcome, answer: CheckAnswer, until: f64) -> Vec<f64> {
    let mut bench = with_check(1, 3);
    bench.pool.questions(bench.now);
    bench.fail_with("a", reason, 5);
    let (out, mut asked) = (bench.now, Vec::new());
    while bench.now < out + seconds(until) {
        bench.pass(0.1);
        for question in bench.questions(QuestionKind::Check) {
            let is_a = *question.node.name == *"a";
            asked.extend(is_a.then(|| (bench.now - out).as_secs_f64()));
            bench.pool.answer(&question, if is_a { answer } else { CheckAnswer::Passed }, bench.now);
        }
    }
    asked
}

#[test]
fn a_node_that_went_out_recently_is_checked_more_often() {
    let asked = asked_while_out(Outcome::Reset, CheckAnswer::Failed, 300.0);
    assert!(asked[0] <= 5.5, "the first check comes at the usual interval: {asked:?}");
    for pair in asked.windows(2) {
        let (pause, wants) = (pair[1] - pair[0], (pair[0] / 16.0).max(0.1));
        assert!(pause <= wants + 0.101 && pause <= 5.601, "{pause} s at {}", pair[0]);
        assert!(pause >= wants.min(4.5) - 0.001, "{pause} s at {}", pair[0]);
    }
    assert!(asked.len() < 120, "{}", asked.len());
}

/// The checks pass, so the node is not known to be gone; the fault that fails its requests must not be
/// retried any sooner.
#[test]
fn an_ejected_node_that_passes_its_checks_is_checked_at_the_usual_interval() {
    let asked = asked_while_out(Outcome::Http5xx, CheckAnswer::Passed, 29.0);
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] > 4.4), "{asked:?}");
}

#[test]
fn a_node_ejected_by_its_check_is_checked_soon_too() {
    let mut bench = with_check(1, 1);
    round(&mut bench, [("a", false), ("b", true)]);
    assert!(!bench.is_up("a"));
    bench.pass(0.1);
    let asked = bench.questions(QuestionKind::Check);
    assert_eq!(asked.len(), 1);
    bench.pool.answer(&asked[0], true, bench.now);
    assert!(bench.is_up("a"));
}
