//! Finding the imports between files: resolves each path in a source to the file that it leads to, an arrow.
//!
//! A file is a module, and `a/mod.rs` is the module `a`. A path leads to the file that defines its last name:
//! `use super::Key` is an arrow to mod.rs if `Key` is defined there, and to the sibling `key.rs` if mod.rs only has
//! `pub use key::Key`. `mod x;` makes no arrow, and `pub use x::Y` makes one only if the file itself uses `Y`;
//! otherwise each folder would be a circle. An imported module counts for the names taken from it. Method calls are not
//! resolved, because only names are read here.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// The names on the way from the crate to a module; empty for the crate itself.
type Module = Vec<String>;

/// The import of another file, with the line of its first use.
pub(crate) type Arrows = BTreeMap<String, BTreeMap<String, usize>>;

/// `use path as name;`, one for each name.
#[derive(Debug)]
struct Import {
    line: usize,
    path: Vec<String>,
    name: String,
    is_public: bool,
}

struct File<'a> {
    path: &'a str,
    /// The code without its imports.
    body: String,
    imports: Vec<Import>,
}

struct Files<'a>(BTreeMap<Module, File<'a>>);

/// Longest chain of re-exports to follow, in case they form a circle.
const STEPS_MAX: usize = 12;

/// All imports between files.
pub(crate) fn arrows(sources: &[Source]) -> Arrows {
    let files = Files(sources.iter().map(|source| (module(&source.path), File::of(source))).collect());
    let named = |(at, file): (&Module, &File)| (file.path.to_owned(), files.arrows_of(at, file));
    files.0.iter().map(named).collect()
}

/// `src/fleet/table/mod.rs` is `fleet::table`; `src/lib.rs` is the crate.
fn module(path: &str) -> Module {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Files<'_> {
    fn arrows_of(&self, at: &Module, file: &File) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let mut note = |path: &[String], line: usize| {
            if let Some((to, _)) = self.resolve(at, path, 0).filter(|(to, _)| to != at) {
                found.entry(self.0[&to].path.to_owned()).or_insert(line);
            }
        };
        let paths = paths(&file.body);
        for import in &file.imports {
            let is_module = self.resolve(at, &import.path, 0).is_some_and(|(_, is_item)| !is_item);
            let passes_through = is_module && paths.iter().any(|(_, path)| path[0] == import.name);
            if !passes_through && (!import.is_public || has_word(&file.body, &import.name)) {
                note(&import.path, import.line);
            }
        }
        paths.iter().for_each(|(line, path)| note(path, *line));
        found
    }

    /// The module that the path leads to; the flag is true if the path ends at an item inside it.
    fn resolve(&self, at: &Module, path: &[String], steps: usize) -> Option<(Module, bool)> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" | "evenkeel" => self.walk(Vec::new(), rest, steps),
            "self" => self.walk(at.clone(), rest, steps),
            "super" => {
                let above = rest.iter().take_while(|name| *name == "super").count();
                let parent = at.get(..at.len().checked_sub(above + 1)?)?;
                self.walk(parent.to_vec(), &rest[above..], steps)
            }
            // any other first name belongs to this file, or is an external crate
            _ => self.has(at, first).then(|| self.walk(at.clone(), path, steps)).flatten(),
        }
    }

    fn has(&self, at: &Module, name: &str) -> bool {
        let imported = |file: &File| file.imports.iter().any(|import| import.name == name);
        self.0.contains_key(&below(at, name)) || self.0.get(at).is_some_and(imported)
    }

    fn walk(&self, mut at: Module, path: &[String], steps: usize) -> Option<(Module, bool)> {
        for (place, name) in path.iter().enumerate() {
            let child = below(&at, name);
            if self.0.contains_key(&child) {
                at = child;
                continue;
            }
            let file = self.0.get(&at)?;
            let import = file.imports.iter().find(|import| import.name == *name);
            let Some(import) = import.filter(|_| steps < STEPS_MAX) else { return Some((at, true)) };
            let onward: Vec<_> = import.path.iter().chain(&path[place + 1..]).cloned().collect();
            return self.resolve(&at, &onward, steps + 1);
        }
        self.0.contains_key(&at).then_some((at, false))
    }
}

fn below(at: &[String], name: &str) -> Module {
    at.iter().cloned().chain([name.to_owned()]).collect()
}

impl<'a> File<'a> {
    fn of(source: &'a Source) -> Self {
        let (mut body, mut imports) = (String::new(), Vec::new());
        let mut rest = source.code.as_str();
        while let Some((start, end, is_public)) = next_import(rest, &body) {
            body.push_str(&rest[..start]);
            let line = body.matches('\n').count() + 1;
            expand(&rest[start + "use".len()..end], Vec::new(), &mut |path, name| {
                imports.push(Import { line, path, name, is_public });
            });
            body.extend(rest[start..end].chars().filter(|c| *c == '\n'));
            rest = &rest[end..];
        }
        body.push_str(rest);
        Self { path: &source.path, body, imports }
    }
}

/// The start and end of the next `use` item; the flag is true if it has a visibility.
fn next_import(text: &str, before: &str) -> Option<(usize, usize, bool)> {
    let is_item = |at: &usize| {
        let follows = text[at + "use".len()..].starts_with(char::is_whitespace);
        let head = if text[..*at].trim_end().is_empty() { before } else { &text[..*at] }.trim_end();
        let opens = head.is_empty() || head.ends_with([';', '}', '{', ']', ')']) || head.ends_with("pub");
        follows && opens && !text[..*at].ends_with(is_letter)
    };
    let start = text.match_indices("use").map(|(at, _)| at).find(is_item)?;
    let end = start + text[start..].find(';')?;
    let head = text[..start].trim_end();
    Some((start, end, head.ends_with("pub") || head.ends_with(')')))
}

/// The names in a use tree such as `a::{b, c as d, e::{self, f}}`, each with its path.
fn expand(tree: &str, above: Vec<String>, found: &mut dyn FnMut(Vec<String>, String)) {
    let tree = tree.trim();
    if let Some(group) = tree.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    expand(&group[start..at], above.clone(), found);
                    start = at + 1;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    } else if let Some((first, rest)) = tree.split_once("::") {
        expand(rest, above.into_iter().chain([first.trim().to_owned()]).collect(), found);
    } else if !tree.is_empty() {
        let (name, alias) = tree.split_once(" as ").unwrap_or((tree, tree));
        let (name, alias) = (name.trim(), alias.trim());
        let is_whole = matches!(name, "self" | "*");
        let last = above.last().cloned().filter(|_| name == alias && is_whole);
        let path = above.into_iter().chain((!is_whole).then(|| name.to_owned())).collect();
        found(path, last.unwrap_or_else(|| alias.to_owned()));
    }
}

/// Paths of at least two names, each with its line.
fn paths(body: &str) -> BTreeSet<(usize, Vec<String>)> {
    let mut found = BTreeSet::new();
    for (number, line) in body.lines().enumerate() {
        for path in line.split(|c| !is_letter(c) && c != ':').filter(|path| path.contains("::")) {
            let names = path.trim_end_matches(':').split("::");
            let names: Vec<_> = names.map(|name| name.trim_start_matches(':').to_owned()).collect();
            if names.len() > 1 && !names[0].is_empty() || path.ends_with("::") && !names[0].is_empty() {
                found.insert((number + 1, names));
            }
        }
    }
    found
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c| !is_letter(c)).any(|found| found == word)
}
