//! Reading source files for these tests, with comments, strings and unit tests blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// One `.rs` file under `src`.
pub(crate) struct Source {
    /// Path relative to the project, such as `src/proxy/mod.rs`.
    pub path: String,
    /// The code, line by line; everything that is not code is blank.
    pub code: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the project; none if there is no such folder.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The path as shown in messages: relative to the project.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// All of `src` except unit tests, which may use anything.
pub(crate) fn sources() -> Vec<Source> {
    let of_tests =
        |path: &str| path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs"));
    let rust = files("src").into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    let named = rust.map(|path| (shown(&path), path)).filter(|(name, _)| !of_tests(name));
    named.map(|(name, path)| Source::new(name, &fs::read_to_string(path).expect("UTF-8"))).collect()
}

impl Source {
    pub(crate) fn new(path: String, text: &str) -> Self {
        Self { path, code: code(text) }
    }

    /// The file's top-level module: `proxy` for `src/proxy/relay/mod.rs`.
    pub(crate) fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// The depth of the file's module: 1 for `src/retry.rs` and `src/proxy/mod.rs`, 0 for the crate itself.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(inside, "lib" | "main") { 0 } else { inside.split('/').count() }
    }

    /// The modules of this crate named in the file, each with its line.
    pub(crate) fn uses(&self) -> Vec<(usize, String)> {
        let up = "super::".repeat(self.depth());
        let mut found = Vec::new();
        for start in ["crate::", "evenkeel::", up.as_str()].into_iter().filter(|start| !start.is_empty()) {
            for (at, _) in self.code.match_indices(start) {
                let before = self.code[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    let line = self.line_of(at);
                    found.extend(heads(&self.code[at + start.len()..]).into_iter().map(|head| (line, head)));
                }
            }
        }
        found
    }

    /// The places of these words. A word may contain `::` and `(`, and matches only if no letter is next to it.
    pub(crate) fn find(&self, words: &[&'static str]) -> Vec<(usize, &'static str)> {
        let letter = |c: char| c.is_alphanumeric() || c == '_';
        let mut found = Vec::new();
        for word in words {
            for (at, _) in self.code.match_indices(word) {
                let before = self.code[..at].chars().next_back().is_some_and(letter);
                let after = self.code[at + word.len()..].chars().next().is_some_and(letter);
                if !(before && word.starts_with(letter) || after && word.ends_with(letter)) {
                    found.push((self.line_of(at), *word));
                }
            }
        }
        found
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// The first names after a path's root: `a` of `a::b`, `a` and `b` of `{a::{c, d}, b}`.
fn heads(text: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = text.strip_prefix('{') else { return vec![name(text)] };
    let mut found = Vec::new();
    let (mut depth, mut fresh) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                found.push(name(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found.retain(|head| !head.is_empty());
    found
}

/// Blanks comments, strings and everything after the first `#[cfg(test)]` that precedes an inline module.
fn code(text: &str) -> String {
    let tests = text.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let rest = text[at + mark.len()..].trim_start();
        let rest = rest.strip_prefix("pub").map_or(rest, |rest| match rest.strip_prefix('(') {
            Some(inside) => inside.split_once(')').map_or(inside, |(_, rest)| rest),
            None => rest,
        });
        rest.trim_start().starts_with("mod ") && rest.lines().next().is_some_and(|line| line.ends_with('{'))
    });
    let text = &text[..tests.map_or(text.len(), |(at, _)| at)];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if c == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    out
}

/// The length of the string literal at the beginning of the text, quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn unit_tests_are_blanked_whatever_their_visibility() {
    for before in ["", "pub ", "pub(super) ", "pub(crate) "] {
        let text = format!("use crate::a;\n#[cfg(test)]\n{before}mod tests {{\nuse crate::b;\n}}");
        let source = Source::new("src/c.rs".into(), &text);
        assert_eq!(source.uses(), [(1, "a".to_owned())], "{before}");
    }
}

#[test]
fn a_file_is_read_as_the_compiler_reads_it() {
    let text = "use crate::{fleet::{Key, Pool}, retry};\n// crate::server\nlet a = \"crate::cli \\\" \";\n\
                use super::super::admin;\n#[cfg(test)]\nmod tests {\nuse crate::sim;\n}";
    let source = Source::new("src/proxy/relay.rs".into(), text);
    let expected = [(1, "fleet"), (1, "retry"), (4, "admin")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(source.uses(), expected);
    assert_eq!(source.module(), "proxy");
    assert_eq!(source.find(&["admin", "dmin"]), [(4, "admin")]);
}
