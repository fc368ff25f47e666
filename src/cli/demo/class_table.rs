//! Drawing the demo's table of classes: a bar for those who wait in line, and the times of the answers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::widgets::{Cell, Row as TableRow, Table};

use super::classes::{ClassRow, seconds};
use super::picture::Mood;
use super::table::colour;
use crate::cli::bar::bar;

/// Widths below which columns are left out.
const ROOM_FOR_COUNTS: u16 = 76;
const ROOM_FOR_TIMES: u16 = 46;
const NAME: u16 = 11;
const NUMBER: u16 = 4;
const COUNT: u16 = 8;
const TIME: u16 = 8;

/// Draws the classes; a bar of full width stands for the clients of the largest.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rows: &[ClassRow]) {
    let (counts, times) = (area.width >= ROOM_FOR_COUNTS, area.width >= ROOM_FOR_TIMES);
    let mut widths = vec![NAME, 0, NUMBER];
    let mut names = vec!["class", "waiting in line", ""];
    if counts {
        widths.extend([COUNT, COUNT]);
        names.extend(["answered", "  failed"]);
    }
    if times {
        widths.extend([TIME, TIME]);
        names.extend([" half in", "  99% in"]);
    }
    let fixed: u16 = widths.iter().map(|width| width + u16::from(*width > 0)).sum();
    let room = usize::from(area.width.saturating_sub(fixed + 1));
    let full = rows.iter().map(|row| row.clients as u64).max().unwrap_or(0);
    let number = |value: String| Cell::from(format!("{value:>8}"));
    let lines = rows.iter().map(|row| {
        let mut cells = vec![
            Cell::from(row.class.as_str()).bold(),
            Cell::from(bar(row.waiting as u64, full, room)).style(colour(Mood::Coming)),
            Cell::from(format!("{:>4}", row.waiting)).bold(),
        ];
        if counts {
            cells.extend([number(row.counts.done.to_string()), number(row.counts.failed.to_string())]);
        }
        if times {
            cells.extend([number(seconds(row.times.half)).bold(), number(seconds(row.times.nearly_all))]);
        }
        TableRow::new(cells)
    });
    let lines: Vec<_> = lines.collect();
    let widths = widths.into_iter().map(|width| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(width),
    });
    let header = TableRow::new(names).style(Style::new().dim());
    frame.render_widget(Table::new(lines, widths).header(header).column_spacing(1), area);
}
