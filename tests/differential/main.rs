//! The gateway's reading of HTTP/1 against hyper's and httparse's: the same facts about the same bytes, or a reason that
//! is written down.
//!
//! The bytes are thousands of messages made of good and odd parts ([`messages`]). A failure shows its message, and the
//! number of its case, which is the seed.

mod facts;
mod messages;
mod reasons;
mod requests;
mod responses;
mod wire;

use fastrand::Rng;

use facts::Facts;
use reasons::{Case, REQUEST_REASONS, RESPONSE_REASONS, Reason};

const CASES: u64 = 30_000;

/// Compares all cases; each reason must explain one at least, or it does not hold any more.
fn compare(cases: u64, reasons: &[Reason], case: impl Fn(&mut Rng) -> Case) {
    let mut explained = vec![0_u32; reasons.len()];
    let (mut whole, mut differing) = (0, Vec::new());
    for seed in 0..cases {
        let case = case(&mut Rng::with_seed(seed));
        if case.ours == case.theirs {
            whole += u64::from(case.ours.message().is_some_and(|message| message.is_whole));
            continue;
        }
        match reasons.iter().position(|reason| (reason.explains)(&case)) {
            Some(reason) => explained[reason] += 1,
            None => differing.push(format!("case {seed}: {case:?}")),
        }
    }
    let shown: Vec<_> = differing.iter().take(20).map(String::as_str).collect();
    assert!(differing.is_empty(), "{} cases differ without a reason:\n{}", differing.len(), shown.join("\n"));
    for (reason, count) in reasons.iter().zip(explained) {
        println!("{count:6} {}", reason.words);
        assert!(count > 0, "no case shows it any more: {}", reason.words);
    }
    assert!(whole > cases / 4, "only {whole} of {cases} messages were whole for both");
}

#[test]
fn responses_are_read_as_hyper_reads_them() {
    compare(CASES, RESPONSE_REASONS, |rng| {
        let wire = messages::response(rng);
        let is_head = rng.u8(..10) == 0;
        let ours = responses::ours(&messages::pieces(rng, &wire), is_head);
        assert_eq!(ours, responses::ours(&[&wire], is_head), "split: {}", wire.escape_ascii());
        let theirs = responses::hypers(&messages::pieces(rng, &wire), is_head);
        Case { wire, is_head, ours, theirs }
    });
}

#[test]
fn requests_are_judged_as_hyper_reads_them() {
    compare(CASES, REQUEST_REASONS, |rng| {
        let wire = messages::request(rng);
        let ours = requests::ours(&wire);
        let theirs = requests::hypers(&messages::pieces(rng, &wire));
        Case { wire, is_head: false, ours, theirs }
    });
}

/// The comparison can fail: by a difference, and by a reason that nothing shows.
#[test]
fn a_difference_without_a_reason_fails() {
    const WIRE: &[u8] = b"HTTP/1.1 204 X\r\n\r\n";
    let words = |reasons: &'static [Reason], ours: fn() -> Facts| {
        let case = move |_: &mut Rng| Case {
            wire: WIRE.to_vec(),
            is_head: false,
            ours: ours(),
            theirs: responses::hypers(&[WIRE], false),
        };
        let failure = std::panic::catch_unwind(|| compare(1, reasons, case)).unwrap_err();
        failure.downcast_ref::<String>().expect("words").clone()
    };
    let differing = words(&[], || Facts::Refused);
    assert!(differing.contains("1 cases differ without a reason"), "{differing}");
    let idle = words(RESPONSE_REASONS, || responses::ours(&[WIRE], false));
    assert!(idle.contains("no case shows it any more"), "{idle}");
}
