//! The text that follows a command's help, as sections of a man page.

use std::fmt::Write;

/// Sections from text such as `Signals:`, lines of two columns that are indented below it, and sentences.
pub(super) fn sections(help: &str) -> String {
    let mut page = String::new();
    let mut section = String::new();
    let mut begin = |page: &mut String, name: &str| {
        if section != name {
            section = name.to_owned();
            let _ = writeln!(page, ".SH \"{}\"", escaped(name));
        }
    };
    for line in help.lines() {
        if line.trim().is_empty() {
            begin(&mut page, "NOTES");
        } else if let Some(name) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            begin(&mut page, &name.to_uppercase());
        } else if let Some(row) = line.strip_prefix("  ") {
            let (term, meaning) = row.split_once("  ").unwrap_or((row, ""));
            let _ = write!(page, ".TP\n.B {}\n{}\n", escaped(term), escaped(meaning.trim()));
        } else if let Some(codes) = line.strip_prefix("Exit codes: ") {
            begin(&mut page, "EXIT STATUS");
            let _ = writeln!(page, "{}", escaped(codes));
        } else {
            let _ = writeln!(page, "{}", escaped(line));
        }
    }
    without_empty(&page)
}

/// The pages that belong to this one.
pub(super) fn see_also(names: &[&str]) -> String {
    let list: Vec<_> = names.iter().map(|name| format!("\\fB{}\\fR(1)", escaped(name))).collect();
    if list.is_empty() { String::new() } else { format!(".SH \"SEE ALSO\"\n{}\n", list.join(",\n")) }
}

/// Text as roff shows it: no line is a request, and a hyphen can be copied into a shell.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The page without sections in which there is nothing, and without empty lines.
fn without_empty(page: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if line.starts_with(".SH") && lines.last().is_some_and(|last| last.starts_with(".SH")) {
            lines.pop();
        }
        lines.push(line);
    }
    if lines.last().is_some_and(|last| last.starts_with(".SH")) {
        lines.pop();
    }
    lines.iter().fold(String::new(), |page, line| page + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections() {
        let help = "Signals:\n  SIGHUP   Reload it; a bad one changes nothing\n\nExamples:\n  evenkeel check -c a.yaml && kill \"$PID\"\n\n\
                    'tis a note,\n.that goes on.\nExit codes: 0 success,\n1 fail\\ure";
        assert_eq!(
            sections(help),
            ".SH \"SIGNALS\"\n.TP\n.B SIGHUP\nReload it; a bad one changes nothing\n.SH \"EXAMPLES\"\n.TP\n\
             .B evenkeel check \\-c a.yaml && kill \\(dq$PID\\(dq\n.SH \"NOTES\"\n\\&'tis a note,\n\\&.that goes on.\n\
             .SH \"EXIT STATUS\"\n0 success,\n1 fail\\eure\n"
        );
        assert_eq!(sections(""), "");
        assert_eq!(sections("Nothing:\n\n"), "");
    }

    #[test]
    fn pages_name_each_other() {
        assert_eq!(see_also(&["a-b", "c"]), ".SH \"SEE ALSO\"\n\\fBa\\-b\\fR(1),\n\\fBc\\fR(1)\n");
        assert_eq!(see_also(&[]), "");
    }
}
