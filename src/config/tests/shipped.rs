//! The shipped configs in `conf/` are valid, and the reference is complete.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::outside::Outside;
use crate::config::problems::Collector;
use crate::config::{Config, read};

fn conf() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.join("conf")
}

#[test]
fn every_file_loads() {
    let mut count = 0;
    for entry in fs::read_dir(conf()).expect("conf/ is there") {
        let path = entry.expect("conf/ can be listed").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
            count += 1;
        }
    }
    assert!(count >= 3, "conf/ has only {count} configs");
}

/// The list of known keys comes from the schema, so no new key can be forgotten here.
#[test]
fn the_reference_has_every_key() {
    let text = fs::read_to_string(conf().join("evenkeel.yaml")).expect("the reference is there");
    let problems = Collector::default();
    read(&text, &Outside::NOTHING, &problems).expect("the reference is valid");
    // A key explained on one node of the list may be missing on the others.
    let absent = problems.absent.take().into_iter().filter(|path| !path.contains("nodes[1]"));
    assert_eq!(
        absent.collect::<Vec<_>>(),
        Vec::<String>::new(),
        "keys that conf/evenkeel.yaml does not explain"
    );
}

/// Keys at their default can be omitted without changing the config. `REST` holds the others, which the
/// reference marks with `*`.
#[test]
fn the_reference_marks_what_is_not_a_default() {
    const REST: &str = "
server: { listen: 0.0.0.0:9999 }
pools:
  vllm:
    engine: vllm
    nodes: [{ address: 192.168.0.150:9997, name: a }, { address: 192.168.0.58:9997, name: b }]
    health: { fail_timeout: 120s }
    retry: { wait: 180s }
";
    let text = fs::read_to_string(conf().join("evenkeel.yaml")).expect("the reference is there");
    let marked = text.lines().filter(|line| line.contains("# *"));
    let keys: Vec<_> = marked.filter_map(|line| line.trim().split(':').next()).collect();
    assert_eq!(keys, ["engine", "name", "name", "fail_timeout", "wait"]);
    assert_eq!(Config::parse(&text, "a.yaml"), Config::parse(REST, "a.yaml"));
}
