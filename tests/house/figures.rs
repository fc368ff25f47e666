//! Checks that the figures in README.md and tests/bench/README.md match the newest benchmark results.

use std::process::Command;

use super::source::root;

#[test]
fn the_readmes_show_the_newest_results() {
    let run = root().join("tests/bench/run");
    let told = Command::new("python3").arg(run).arg("--check-readme").output().expect("python3");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}
