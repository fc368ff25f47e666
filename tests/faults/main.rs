//! The fault matrix: for each way in which a node can fail, tests the client's view and the node's charge, streaming
//! or not, with a small or a large request body, with one or two healthy nodes left; and the same in every dialect.
//! `make faults` prints both.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "parts of it are only for the gateway's other tests")]
mod harness;

mod answer;
mod cell;
mod dialects;
mod rows;
mod table;

use std::sync::{LazyLock, Mutex};

use cell::{COMBINATIONS, End};
use rows::rows;

/// The ends in all combinations, row by row. All tests share one run.
static ENDS: LazyLock<Vec<Vec<End>>> = LazyLock::new(|| run(cell::run_all(rows())));

/// The result of a run. One at a time: beside another one healthy nodes would seem to fail, too.
fn run<T>(all: impl Future<Output = T>) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let (sender, receiver) = std::sync::mpsc::channel();
    harness::run_within(10 * harness::LIMIT, async move { sender.send(all.await).unwrap() });
    receiver.recv().unwrap()
}

#[test]
fn each_fault_ends_as_expected() {
    let mut wrong = Vec::new();
    for (row, ends) in rows().iter().zip(&*ENDS) {
        for (combination, end) in COMBINATIONS.iter().zip(ends).filter(|(_, end)| **end != row.expected) {
            wrong.push(format!("{row}, {combination}:\n  wanted {}\n  not    {end}", row.expected));
        }
    }
    assert!(wrong.is_empty(), "{} ends of {}:\n{}", wrong.len(), 4 * rows().len(), wrong.join("\n"));
}

/// One healthy node is enough, except for faults in the middle of a stream without `retry.resume`.
#[test]
fn no_client_sees_a_fault_that_can_be_hidden() {
    for (row, ends) in rows().iter().zip(&*ENDS) {
        let seen = ends.iter().filter(|end| end.is_failure()).count();
        let wanted = if row.visible { COMBINATIONS.len() } else { 0 };
        assert_eq!(seen, wanted, "{row}: failures that clients saw");
    }
}

#[test]
fn the_readme_shows_what_the_run_produced() {
    let table = table::markdown(&rows(), &ENDS);
    println!("\n{table}");
    table::compare_with_readme("faults", &table);
}

#[test]
fn each_dialect_ends_as_its_rules_say() {
    let (wrong, table) = run(dialects::run_all());
    println!("\n{table}");
    assert!(wrong.is_empty(), "{} ends:\n{}", wrong.len(), wrong.join("\n"));
    table::compare_with_readme("dialects", &table);
}

#[test]
fn each_dialect_has_a_row() {
    assert_eq!(dialects::without_a_row(), [""; 0], "dialects/api.rs wants a row for each");
}

#[test]
fn each_path_is_known_by_its_ending() {
    let wrong = run(dialects::known_by_their_endings());
    assert!(wrong.is_empty(), "{} paths:\n{}", wrong.len(), wrong.join("\n"));
}
