//! The steps of an engine, one after the other.

use super::*;
use proptest::prelude::*;

fn batch(max_seqs: usize) -> Batch<char> {
    Batch::new(Limits { max_seqs, ..Limits::default() })
}

fn prompt(tokens: u32, answer: u32) -> Work {
    Work { prompt: Prompt::of_tokens(tokens), ..Work::answer(answer) }
}

fn step(batch: &mut Batch<char>) -> String {
    batch.begin_step();
    let mut out = String::new();
    batch.end_step(|item, token| out.push(if token.last { item.to_ascii_uppercase() } else { *item }));
    out
}

#[test]
fn one_token_a_step_and_a_freed_slot_goes_to_the_oldest_waiter() {
    let mut batch = batch(2);
    for (item, tokens) in [('a', 1), ('b', 3), ('c', 2), ('d', 1)] {
        batch.submit(item, Work::answer(tokens)).unwrap();
    }
    assert_eq!((batch.running(), batch.waiting()), (2, 2));
    assert_eq!(step(&mut batch), "Ab");
    assert_eq!(step(&mut batch), "bc");
    assert_eq!(step(&mut batch), "BC");
    assert_eq!(step(&mut batch), "D");
    assert!(!batch.has_work());
}

#[test]
fn a_sequence_that_joins_during_a_step_gets_its_token_in_the_next() {
    let mut batch = batch(8);
    batch.submit('a', Work::answer(2)).unwrap();
    assert_eq!(batch.begin_step().sequences, 1);
    batch.submit('b', Work::answer(1)).unwrap();
    let mut out = String::new();
    batch.end_step(|item, _| out.push(*item));
    assert_eq!(out, "a");
    assert_eq!(step(&mut batch), "AB");
}

#[test]
fn a_full_queue_refuses() {
    let mut batch = Batch::new(Limits { max_seqs: 1, max_queued: Some(1), ..Limits::default() });
    assert_eq!(batch.submit('a', Work::answer(1)).map(|place| place.id), Ok(0));
    assert_eq!(batch.submit('b', Work::answer(1)).map(|place| place.id), Ok(1));
    assert_eq!(batch.submit('c', Work::answer(1)), Err(Refused::Full));
}

#[test]
fn removing_frees_the_slot_or_the_place_in_the_queue() {
    let mut batch = batch(1);
    let a = batch.submit('a', Work::answer(9)).unwrap();
    let b = batch.submit('b', Work::answer(9)).unwrap();
    batch.submit('c', Work::answer(1)).unwrap();
    batch.remove(b);
    assert_eq!((batch.running(), batch.waiting()), (1, 1));
    batch.remove(a);
    batch.remove(a);
    assert_eq!((batch.running(), batch.waiting()), (1, 0));
    assert_eq!(step(&mut batch), "C");
}

#[test]
fn a_held_sequence_keeps_its_slot_but_makes_no_work() {
    let mut batch = batch(1);
    batch.submit('a', Work { hold: true, ..Work::answer(1) }).unwrap();
    assert_eq!(step(&mut batch), "a");
    assert!(!batch.has_work());
    assert_eq!((batch.begin_step().sequences, batch.running()), (0, 1));
    assert_eq!(batch.drain(), vec!['a']);
}

#[test]
fn a_prompt_is_computed_in_as_many_steps_as_its_tokens_need_beside_the_others() {
    let mut batch = Batch::new(Limits { step_tokens: Some(100), ..Limits::default() });
    batch.submit('a', Work::answer(9)).unwrap();
    assert_eq!(step(&mut batch), "a");
    batch.submit('b', prompt(250, 2)).unwrap();
    let mut steps = Vec::new();
    for _ in 0..4 {
        let begun = batch.begin_step();
        let mut out = String::new();
        batch.end_step(|item, _| out.push(*item));
        steps.push((begun.sequences, begun.prompt_tokens, out));
    }
    let told = |sequences, tokens, out: &str| (sequences, tokens, out.to_owned());
    assert_eq!(steps, [told(1, 99, "a"), told(1, 99, "a"), told(2, 52, "ab"), told(2, 0, "ab")]);
}

#[test]
fn when_memory_is_full_the_newest_gives_way_and_is_computed_anew() {
    let mut batch = Batch::new(Limits { kv_tokens: Some(64), ..Limits::default() });
    batch.submit('a', prompt(30, 20)).unwrap();
    batch.submit('b', prompt(30, 6)).unwrap();
    assert_eq!(batch.kv_usage(), 1.0);
    let all: Vec<_> = (0..4).map(|_| step(&mut batch)).collect();
    assert_eq!((all.concat().as_str(), batch.preemptions(), batch.waiting()), ("abababa", 1, 1));
    // b says what it has said already no second time
    let mut rest = String::new();
    while batch.has_work() {
        rest += &step(&mut batch);
    }
    assert_eq!((rest.matches('a').count(), rest.matches('b').count()), (15, 2));
    assert_eq!((rest.matches('A').count(), rest.matches('B').count()), (1, 1));
    assert_eq!((batch.preemptions(), batch.kv_usage()), (1, 0.0));
    assert_eq!(batch.submit('c', prompt(60, 5)), Err(Refused::TooLong));
}

#[test]
fn a_prefix_that_is_there_is_not_computed_again() {
    let limits = Limits { kv_tokens: Some(1600), prefix_cache: true, ..Limits::default() };
    let mut batch = Batch::new(limits);
    let of = |last: u32| Work { prompt: Prompt::of_ids((0..100).chain([last])), ..Work::answer(1) };
    let mut computed = Vec::new();
    let mut cached = Vec::new();
    for last in [7, 8, 8] {
        batch.submit('a', of(last)).unwrap();
        computed.push(batch.begin_step().prompt_tokens);
        batch.end_step(|_, token| cached.push(token.cached));
    }
    assert_eq!((computed, cached), (vec![101, 5, 5], vec![0, 96, 96]));
}

#[test]
fn the_lower_number_goes_first_where_the_engine_orders_by_it() {
    for (by_priority, want) in [(true, "ACB"), (false, "ABC")] {
        let mut batch = Batch::new(Limits { max_seqs: 1, by_priority, ..Limits::default() });
        for (item, priority) in [('a', 5), ('b', 3), ('c', -1)] {
            batch.submit(item, Work { priority, ..Work::answer(1) }).unwrap();
        }
        let all: String = (0..3).map(|_| step(&mut batch)).collect();
        assert_eq!(all, want);
    }
}

proptest! {
    /// Each token is told once and none is lost, however often memory is full.
    #[test]
    fn every_sequence_says_all_its_tokens(
        works in proptest::collection::vec((0_u32..90, 1_u32..40, -2_i64..2), 1..20),
        kv in proptest::option::of(140_u32..400), step_tokens in proptest::option::of(1_u32..200),
        max_seqs in 1_usize..8, by_priority: bool, prefix_cache: bool)
    {
        let mut batch = Batch::new(Limits { max_seqs, kv_tokens: kv, step_tokens, prefix_cache, by_priority, max_queued: None });
        for (number, (tokens, answer, priority)) in works.iter().enumerate() {
            let prompt = Prompt::of_ids(0..*tokens);
            batch.submit(number, Work { prompt, priority: *priority, ..Work::answer(*answer) }).unwrap();
        }
        let mut said = vec![0; works.len()];
        let mut steps = 0;
        while batch.has_work() {
            batch.begin_step();
            batch.end_step(|number, _| said[*number] += 1);
            prop_assert!(batch.running() <= max_seqs && batch.kv_usage() <= 1.0);
            steps += 1;
            prop_assert!(steps < 200_000, "it stands still");
        }
        let want: Vec<u32> = works.iter().map(|(_, answer, _)| *answer).collect();
        prop_assert_eq!(said, want);
        prop_assert_eq!((batch.running(), batch.waiting(), batch.kv_usage()), (0, 0, 0.0));
    }
}
