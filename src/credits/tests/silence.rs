//! Members that make no calls.

use std::time::Duration;

use super::world::{Fate, World};
use crate::credits::{Fellow, Found, Heard, MemberId, Verdict, Watch};

#[test]
fn the_units_of_a_killed_gateway_are_back_within_5_s() {
    let mut world = World::settled(3, &[9]);
    world.counter(2, 0).waiting = 9;
    world.rounds(3);
    assert_eq!(world.counter(2, 0).in_use, 9);
    world.counter(0, 0).waiting = 9;
    world.kill(2);
    world.rounds(49);
    assert_eq!(world.counter(0, 0).in_use, 9);
}

#[test]
fn a_gateway_that_is_only_cut_off_keeps_its_units() {
    let mut world = World::settled(2, &[8]);
    world.counter(1, 0).waiting = 4;
    world.rounds(3);
    world.counter(0, 0).waiting = 20;
    for _ in 0..6000 {
        world.pass(100);
        world.exchange(0, Fate::Answered);
        world.ask(0);
        world.exchange(1, Fate::Lost);
        world.check();
    }
    assert_eq!(world.counter(1, 0).in_use, 4);
}

fn fellow(seq: Option<u64>) -> Fellow {
    Fellow { id: MemberId(7), seq, address: "10.0.0.7:4000".into(), is_leaving: false }
}

/// Each line: known to answer there, the own host, the answer, seconds of silence.
#[test]
fn what_an_answer_proves() {
    use Heard::{Another, Itself, Nothing, Refused};
    use Verdict::{Dead, Forgotten, Lives, Unknown};
    let table = [
        (true, None, Itself, 3, Lives),
        (true, None, Refused, 3, Dead),
        (true, None, Another, 3, Dead),
        (true, None, Nothing, 3, Unknown),
        (true, None, Nothing, 59, Unknown),
        (true, None, Nothing, 61, Forgotten),
        (true, None, Refused, 1, Unknown),
        (false, None, Refused, 3, Unknown),
        (false, None, Another, 3, Unknown),
        (false, None, Refused, 61, Forgotten),
        (false, Some("10.0.0.7"), Refused, 3, Dead),
        (false, Some("10.0.0.8"), Refused, 3, Unknown),
        (false, None, Itself, 600, Lives),
    ];
    for (is_proven, own, heard, silent, verdict) in table {
        let start = std::time::Instant::now();
        let mut watch = Watch::new(Duration::from_mins(1));
        watch.set_own(own.map(str::to_owned));
        watch.listed(&[fellow(Some(5))], true, start);
        if is_proven {
            watch.heard(MemberId(7), Itself, start);
        }
        let mut now = start;
        for _ in 0..silent {
            now += Duration::from_secs(1);
            watch.listed(&[fellow(Some(5))], true, now);
        }
        let found = watch.heard(MemberId(7), heard, now);
        let silent = Duration::from_secs(silent);
        assert_eq!(found, Some(Found { verdict, seq: Some(5), silent }), "{is_proven} {own:?} {heard:?}");
    }
}

#[test]
fn time_without_a_list_is_no_silence() {
    let start = std::time::Instant::now();
    let mut watch = Watch::new(Duration::from_mins(1));
    watch.listed(&[fellow(Some(5))], true, start);
    watch.heard(MemberId(7), Heard::Itself, start);
    let back = start + Duration::from_hours(1);
    watch.listed(&[fellow(Some(5))], true, back);
    assert_eq!(
        watch.heard(MemberId(7), Heard::Nothing, back).map(|found| found.verdict),
        Some(Verdict::Unknown)
    );
}

#[test]
fn the_silent_are_asked_and_the_new_once() {
    let start = std::time::Instant::now();
    let mut watch = Watch::new(Duration::from_mins(1));
    watch.listed(&[fellow(Some(5))], true, start);
    assert_eq!(watch.questions(16, start).len(), 1, "is it there?");
    watch.heard(MemberId(7), Heard::Itself, start);
    assert_eq!(watch.questions(16, start + Duration::from_secs(1)), []);
    assert_eq!(watch.questions(16, start + Duration::from_secs(2)).len(), 1);
    assert_eq!(watch.questions(16, start + Duration::from_millis(2400)), []);
    assert_eq!(watch.questions(16, start + Duration::from_millis(2500)).len(), 1);
    watch.listed(&[fellow(Some(6))], true, start + Duration::from_secs(3));
    assert_eq!(watch.questions(16, start + Duration::from_secs(3)), []);
    assert_eq!(watch.questions(0, start + Duration::from_secs(9)), []);
}
