//! The output of `nginx -T`: all files of a config in one text, each below its name.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use super::super::source::SourceFile;

const MARK: &str = "# configuration file ";

/// The files of such an output, the main one first; `None`: it is none.
pub(super) fn files(source: &SourceFile) -> Option<Vec<SourceFile>> {
    let mut files: Vec<SourceFile> = Vec::new();
    for line in source.text.lines() {
        let name = line.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(':'));
        match (name, files.last_mut()) {
            (Some(name), _) => files.push(SourceFile { name: name.to_owned(), text: String::new() }),
            (None, Some(file)) => {
                file.text += line;
                file.text.push('\n');
            }
            // nginx says that the syntax is ok before
            (None, None) if line.is_empty() || line.starts_with("nginx: ") => {}
            (None, None) => return None,
        }
    }
    (!files.is_empty()).then_some(files)
}

/// Those of the files that an `include` in the main one means.
pub(super) fn matching(files: &[SourceFile], pattern: &str) -> Vec<SourceFile> {
    let folder = files.first().and_then(|main| Path::new(&main.name).parent()).unwrap_or(Path::new(""));
    let whole = folder.join(pattern).display().to_string();
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let Ok(pattern) = Pattern::new(&whole) else { return Vec::new() };
    files.iter().filter(|file| pattern.matches_with(&file.name, options)).cloned().collect()
}
