//! README.md's figures are what the newest results of the benchmarks say.

use std::process::Command;

use super::source::root;

#[test]
fn the_readme_shows_the_newest_results() {
    let run = root().join("tests/bench/run");
    let told = Command::new("python3").arg(run).arg("--check-readme").output().expect("python3");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}
