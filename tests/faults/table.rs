//! Printing the fault matrix as a table, for the terminal and the README.md in this folder.

use std::path::Path;
use std::sync::Mutex;

use super::cell::{COMBINATIONS, End};
use super::rows::{Mode, Row};

const README: &str = "tests/faults/README.md";
const HEAD: [&str; 6] =
    ["fault", "streaming", "the client saw", "the node was charged with", "another node", "failed"];

/// Equal ends, and the number of requests that ended like this.
struct Line {
    fault: String,
    mode: String,
    end: End,
    requests: usize,
}

impl Line {
    fn cells(&self) -> [String; 6] {
        let failed = if self.end.is_failure() { self.requests } else { 0 };
        [
            self.fault.clone(),
            self.mode.clone(),
            self.end.saw.to_string(),
            self.end.charge.to_string(),
            if self.end.elsewhere { "yes" } else { "no" }.to_owned(),
            format!("{failed} of {}", self.requests),
        ]
    }
}

/// One line per fault and mode; differing combinations get separate lines, and equal modes share one.
fn lines(rows: &[Row], ends: &[Vec<End>]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (row, ends) in rows.iter().zip(ends) {
        if ends.iter().all(|end| *end == ends[0]) {
            let (fault, end, requests) = (row.fault.to_owned(), ends[0].clone(), ends.len());
            match lines.last_mut() {
                Some(last) if row.mode == Mode::Stream && last.fault == fault && last.end == end => {
                    last.mode = "either".to_owned();
                    last.requests += requests;
                }
                _ => lines.push(Line { fault, mode: row.mode.to_string(), end, requests }),
            }
        } else {
            lines.extend(COMBINATIONS.iter().zip(ends).map(|(combination, end)| Line {
                fault: format!("{} ({combination})", row.fault),
                mode: row.mode.to_string(),
                end: end.clone(),
                requests: 1,
            }));
        }
    }
    lines
}

/// The lines as Markdown.
pub(crate) fn markdown(rows: &[Row], ends: &[Vec<End>]) -> String {
    let lines = lines(rows, ends);
    let mut cells = vec![HEAD.map(str::to_owned).to_vec()];
    cells.extend(lines.iter().map(|line| line.cells().to_vec()));
    aligned(&cells)
}

/// Cells as a table with columns aligned for terminals too; the first line is its head.
pub(crate) fn aligned(cells: &[Vec<String>]) -> String {
    let width = |column: usize| cells.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..cells[0].len()).map(width).collect();
    let show = |line: &Vec<String>| {
        let padded: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("| {} |\n", padded.join(" | "))
    };
    let mut shown: Vec<_> = cells.iter().map(show).collect();
    let rule: String = widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))).collect();
    shown.insert(1, format!("{rule}|\n"));
    shown.concat()
}

/// Checks that README.md in this folder contains the table of this name; with `UPDATE` in the environment writes it there.
pub(crate) fn compare_with_readme(name: &str, table: &str) {
    // two tests write the same file
    static FILE: Mutex<()> = Mutex::new(());
    let _file = FILE.lock();
    let begin = format!("<!-- {name}: `make faults UPDATE=1` writes this table -->\n");
    let end = format!("<!-- {name}: end -->\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(README);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&begin).expect("the README has the marker where the table begins");
    let (there, after) = rest.split_once(&end).expect("the README has the marker where the table ends");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, [before, &begin, table, &end, after].concat()).unwrap();
        return;
    }
    // assert_eq would print each table in a single line
    assert!(
        there == table,
        "the table in {README} is not what the run produced: `make faults UPDATE=1` writes it"
    );
}
