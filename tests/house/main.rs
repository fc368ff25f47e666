//! Checks of the project's own structure: its folders, the direction of imports, dependencies, and shipped files.

mod arrows;
mod circles;
mod deploy;
mod figures;
mod imports;
mod links;
mod source;

use std::fs;

use source::{files, root, shown};

const LINES_MAX: usize = 500;
const ARCHITECTURE_LINES_MAX: usize = 200;
/// The top level, which a visitor sees first. Tool settings and scripts are dotfiles; everything else has a folder.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "conf",
    "deploy",
    "src",
    "tests",
];
/// Folders made by the build and ignored by git.
const BUILT: &[&str] = &["target"];
const REQUIRED: &[&str] = &["CHANGELOG.md", "Cargo.lock", "LICENSE", "Makefile", "src/ARCHITECTURE.md"];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_top_level_is_small() {
    for entry in fs::read_dir(root()).expect("the project's folder") {
        let name = entry.expect("a readable folder").file_name().to_string_lossy().into_owned();
        let allowed = name.starts_with('.') || TOP_LEVEL.contains(&&*name) || BUILT.contains(&&*name);
        assert!(
            allowed,
            "{name} does not belong at the top level: settings and scripts of tools are dotfiles (.ci/ ...), examples of \
             configs go into conf/, what runs the gateway into deploy/, what tests it into tests/"
        );
    }
}

#[test]
fn the_usual_files_exist() {
    for path in REQUIRED {
        assert!(root().join(path).is_file(), "{path} is missing");
    }
    let lines = read("src/ARCHITECTURE.md").lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "src/ARCHITECTURE.md has {lines} lines of {ARCHITECTURE_LINES_MAX}: what only one module needs to know goes into \
         that module's documentation"
    );
}

#[test]
fn files_are_short() {
    for path in ["src", "tests"]
        .into_iter()
        .flat_map(files)
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        let lines = fs::read_to_string(&path).expect("UTF-8").lines().count();
        assert!(
            lines <= LINES_MAX,
            "{} has {lines} lines of {LINES_MAX}: find the second subject in it and give that a file of its own",
            shown(&path)
        );
    }
}

/// The marks are assembled at run time, so that this file does not contain them.
#[test]
fn nothing_is_left_for_later() {
    let marks = [
        (["TO", "DO"].concat(), "do it, or describe it in an issue"),
        (["FIX", "ME"].concat(), "mend it, or describe it in an issue"),
        (
            ["#[ig", "nore"].concat(),
            "a test that is not run checks nothing: make it fast and sure, or delete it",
        ),
        (["to", "do!("].concat(), "write it, or leave the feature out"),
        (["unimpl", "emented!("].concat(), "write it, or leave the feature out"),
    ];
    let top = [".ci", "src", "tests", "conf", "deploy"].into_iter().flat_map(files);
    for path in top.chain(["Makefile", "Cargo.toml"].map(|name| root().join(name))) {
        // benchmark results and test data need not be text
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = marks.iter().find(|(mark, _)| line.contains(mark.as_str()));
            if let Some((mark, instead)) = found {
                panic!("{}:{}: {mark}: {instead}", shown(&path), number + 1);
            }
        }
    }
}

/// Every dependency is used somewhere, and the line above it in Cargo.toml gives its purpose.
#[test]
fn each_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let code: String =
        ["src", "tests"].into_iter().flat_map(files).filter_map(|p| fs::read_to_string(p).ok()).collect();
    let mut section = "";
    let mut above = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if let (true, Some((name, _))) = (section.ends_with("dependencies]"), line.split_once(" = ")) {
            let reason = above.starts_with('#') && !above.starts_with("# ---");
            assert!(
                reason,
                "Cargo.toml: {name} has no reason: put a comment above it that says what it is for"
            );
            let used = [format!("{}::", name.replace('-', "_")), format!("{}!", name.replace('-', "_"))];
            assert!(
                used.iter().any(|used| code.contains(used)),
                "Cargo.toml: nothing in src or tests names {name}: remove it"
            );
        }
        above = line;
    }
}
