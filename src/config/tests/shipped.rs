//! The configs that come with the project.

use std::fs;
use std::path::{Path, PathBuf};

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

/// The list of known keys comes from the schema itself, so a new key cannot be forgotten here.
#[test]
fn the_reference_has_every_key() {
    let text = fs::read_to_string(conf().join("evenkeel.yaml")).expect("the reference is there");
    let problems = Collector::default();
    read(&text, &problems).expect("the reference is valid");
    // A key that one node of the list explains need not be there in the others.
    let absent = problems.absent.take().into_iter().filter(|path| !path.contains("nodes[1]"));
    assert_eq!(
        absent.collect::<Vec<_>>(),
        Vec::<String>::new(),
        "keys that conf/evenkeel.yaml does not explain"
    );
}
