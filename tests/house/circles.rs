//! Checks that no files of a folder import each other in a circle, directly or through others: they form a ladder.
//!
//! The reader of a file on a ladder needs to know only those below it. [`super::imports`] defines the arrows.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Arrows, arrows};
use super::source::{Source, sources};

/// Folders that still have circles. The list only shrinks.
const STILL_IN_CIRCLES: &[&str] = &[];

/// Files that need each other, each with its arrows inside the circle.
type Circle = BTreeMap<String, BTreeMap<String, usize>>;

/// All files that a file needs, directly or through others.
fn reach(arrows: &Arrows, from: &str) -> BTreeSet<String> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(next) = left.pop() {
        let new = arrows.get(&next).into_iter().flat_map(BTreeMap::keys);
        left.extend(new.filter(|to| reached.insert((*to).clone())).cloned());
    }
    reached
}

/// The arrows between the parts of a folder, each a file of it or a folder in it with all that it has. The folder's own
/// `mod.rs` is no part of it.
fn between_parts(all: &Arrows, folder: &str) -> Arrows {
    let part = |file: &str| {
        let inside = file.strip_prefix(folder)?.strip_prefix('/')?;
        let name = inside.split('/').next().filter(|name| *name != "mod.rs")?;
        Some(format!("{folder}/{name}"))
    };
    let mut arrows = Arrows::new();
    for (from, to) in all {
        let Some(from) = part(from) else { continue };
        let to = to.iter().filter_map(|(to, line)| Some((part(to)?, *line))).filter(|(to, _)| *to != from);
        arrows.entry(from.clone()).or_default().extend(to);
    }
    arrows
}

/// All folders below src that have files or folders.
fn folders(sources: &[Source]) -> BTreeSet<String> {
    let above = |path: &str| {
        let mut folders: Vec<String> = Vec::new();
        let mut path = path;
        while let Some((folder, _)) = path.rsplit_once('/') {
            folders.push(folder.to_owned());
            path = folder;
        }
        folders
    };
    sources.iter().flat_map(|source| above(&source.path)).collect()
}

fn circles(sources: &[Source]) -> Vec<Circle> {
    circles_of(&arrows(sources))
}

fn circles_of(arrows: &Arrows) -> Vec<Circle> {
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let mut circles: Vec<Circle> = Vec::new();
    for (file, needs) in reached.iter().filter(|(file, needs)| needs.contains(**file)) {
        if circles.iter().any(|circle| circle.contains_key(*file)) {
            continue;
        }
        let is_inside = |other: &str| needs.contains(other) && reached[&other.to_owned()].contains(*file);
        let members = arrows.iter().filter(|(other, _)| is_inside(other));
        let inside = |to: &BTreeMap<String, usize>| {
            to.iter().filter(|(to, _)| is_inside(to)).map(|(to, line)| (to.clone(), *line)).collect()
        };
        circles.push(members.map(|(member, to)| (member.clone(), inside(to))).collect());
    }
    circles
}

fn is_below(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// The circles without an exception, and the exceptions without a circle.
fn judge<'a>(circles: Vec<Circle>, exceptions: &[&'a str]) -> (Vec<Circle>, Vec<&'a str>) {
    let covers = |folder: &str, circle: &Circle| circle.keys().all(|file| is_below(file, folder));
    let needless = exceptions.iter().filter(|folder| !circles.iter().any(|circle| covers(folder, circle)));
    let needless = needless.copied().collect();
    let uncovered = |circle: &Circle| !exceptions.iter().any(|folder| covers(folder, circle));
    (circles.into_iter().filter(uncovered).collect(), needless)
}

fn shown(circle: &Circle) -> String {
    let arrow = |(from, to): (&String, &BTreeMap<String, usize>)| -> Vec<String> {
        to.iter().map(|(to, line)| format!("  {from}:{line} needs {to}")).collect()
    };
    circle.iter().flat_map(arrow).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_files_of_a_folder_form_a_ladder() {
    let (circles, needless) = judge(circles(&sources()), STILL_IN_CIRCLES);
    let circles: Vec<_> = circles.iter().map(shown).collect();
    assert!(
        circles.is_empty(),
        "files that need each other; move what they share into a file below them:\n{}\n",
        circles.join("\n\n")
    );
    assert!(needless.is_empty(), "{needless:?} has no circle any more: take it off the list of exceptions");
}

/// A folder inside is one part: what it needs is below it as a whole.
#[test]
fn the_parts_of_a_folder_form_a_ladder() {
    let arrows = arrows(&sources());
    for folder in folders(&sources()) {
        let circles: Vec<_> = circles_of(&between_parts(&arrows, &folder)).iter().map(shown).collect();
        assert!(circles.is_empty(), "parts of {folder} that need each other:\n{}\n", circles.join("\n\n"));
    }
}

#[test]
fn a_circle_through_a_folder_is_found() {
    let files = [
        ("src/a/mod.rs", "mod b;\nmod low;\nmod high;"),
        ("src/a/low.rs", "pub struct Low;"),
        ("src/a/b/mod.rs", "mod one;\nmod two;"),
        ("src/a/b/one.rs", "use super::super::low::Low;\npub struct One(Low);"),
        ("src/a/high.rs", "use super::b::one::One;\npub struct High(One);"),
        ("src/a/b/two.rs", "use super::super::high::High;\nstruct Two(High);"),
    ];
    let through = |count: usize| {
        let sources = house(&files[..count]);
        assert!(circles(&sources).is_empty(), "no file needs itself");
        circles_of(&between_parts(&arrows(&sources), "src/a")).len()
    };
    assert_eq!((through(5), through(6)), (0, 1));
}

fn house(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::new((*path).into(), text)).collect()
}

/// Each row: the texts of src/a/mod.rs, src/a/low.rs and src/a/high.rs, and true if they form a circle.
#[test]
fn a_circle_is_found_and_a_ladder_passes() {
    let parent = "mod low;\nmod high;\npub use low::Key;\npub use high::Pool;\n";
    let defines = format!("{parent}pub struct Fleet;\n");
    let works = format!("{parent}pub struct Fleet(Pool);\n");
    let calls = "mod low;\nmod high;\npub struct Fleet;\nfn f() { high::pool() }\n";
    type Row<'a> = (&'a str, &'a str, &'a str, &'a str, bool);
    let table: [Row; 11] = [
        ("a ladder", parent, "pub struct Key;", "use super::low::Key;", false),
        ("by way of the parent's re-export", parent, "pub struct Key;", "use super::Key;", false),
        ("two siblings", parent, "use super::high::Pool;", "use super::low::Key;", true),
        ("by way of re-exports", parent, "use super::Pool;", "use crate::a::Key;", true),
        ("a path in the code", parent, "fn f(p: super::high::Pool) {}", "use super::low::{Key, Slot};", true),
        ("a module's name", parent, "use super::high;\nfn f() { high::g() }", "use super::low::Key;", true),
        ("what the parent defines", &defines, "", "use super::Fleet;", false),
        ("what the parent makes of the child", &works, "", "use super::{Fleet, Key};", true),
        ("the parent calls the child", calls, "", "use super::Fleet;", true),
        ("in a comment", parent, "// use super::high::Pool;", "use super::low::Key;", false),
        (
            "in a test",
            parent,
            "#[cfg(test)]\nmod tests {\nuse super::super::high;\n}",
            "use super::Key;",
            false,
        ),
    ];
    for (name, parent, low, high, want) in table {
        let lib = ("src/lib.rs", "pub mod a;");
        let found =
            circles(&house(&[lib, ("src/a/mod.rs", parent), ("src/a/low.rs", low), ("src/a/high.rs", high)]));
        assert_eq!(!found.is_empty(), want, "{name}: {found:?}");
    }
}

#[test]
fn a_circle_over_folders_is_shown_with_its_lines() {
    let files = [
        ("src/a/mod.rs", "pub mod one;"),
        ("src/a/one.rs", "\nuse crate::b::Two;\npub struct One;"),
        ("src/b.rs", "use crate::c::*;\npub struct Two;"),
        ("src/c.rs", "use std::fmt;\n\nuse crate::{\n  a::one::One,\n};\nuse crate::d;"),
        ("src/d.rs", "pub use std::fmt;"),
    ];
    let found = circles(&house(&files));
    let shown: Vec<_> = found.iter().map(shown).collect();
    let lines =
        ["src/a/one.rs:2 needs src/b.rs", "src/b.rs:1 needs src/c.rs", "src/c.rs:3 needs src/a/one.rs"];
    assert_eq!(shown, [lines.map(|line| format!("  {line}")).join("\n")]);
}

#[test]
fn an_exception_covers_its_folder_and_is_reported_when_it_is_not_needed() {
    let in_a = [("src/a/x.rs", "use super::y::Y;"), ("src/a/y.rs", "use super::x::X;"), ("src/a/mod.rs", "")];
    let in_both =
        [("src/a/x.rs", "use crate::b::Y;"), ("src/b.rs", "use crate::a::x::X;"), ("src/a/mod.rs", "")];
    let count = |files: &[_], exceptions: &[&'static str]| {
        let (circles, needless) = judge(circles(&house(files)), exceptions);
        (circles.len(), needless.len())
    };
    assert_eq!(count(&in_a, &[]), (1, 0));
    assert_eq!(count(&in_a, &["src/a"]), (0, 0));
    assert_eq!(count(&in_a, &["src/a", "src/b"]), (0, 1));
    assert_eq!(
        count(&in_both, &["src/a", "src/b"]),
        (1, 2),
        "a circle over two folders is covered by neither"
    );
}
