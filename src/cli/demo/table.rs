//! Drawing the demo's table of nodes. It uses the terminal's own colours, which fit light and dark themes, and each
//! colour only repeats what a word next to it says.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::widgets::{Cell, Row as TableRow, Table};

use super::picture::{Mood, Row};
use crate::cli::bar::bar;

/// Widths below which columns are left out.
const ROOM_FOR_PROCESS: u16 = 76;
const ROOM_FOR_COUNTS: u16 = 46;

/// A column: its heading, its width (0: the remaining width), and the cell of a row.
type Column<'a> = (&'a str, u16, Box<dyn Fn(&Row) -> Cell<'static> + 'a>);

/// Draws the nodes, `gap` lines apart; a bar of full width stands for `full` requests.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rows: &[Row], full: u64, gap: u16) {
    let mut columns = columns(area.width);
    let fixed: u16 = columns.iter().map(|(_, width, _)| width + 1).sum();
    let room = usize::from(area.width.saturating_sub(fixed));
    let place = columns.iter().position(|(_, width, _)| *width == 0);
    if let Some((.., cell)) = place.and_then(|place| columns.get_mut(place)) {
        *cell = Box::new(move |row| {
            Cell::from(bar(row.in_flight.into(), full, room + 1)).style(colour(row.mood))
        });
    }
    let header = TableRow::new(columns.iter().map(|(name, ..)| *name)).style(Style::new().dim());
    let widths = columns.iter().map(|(_, width, _)| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(*width),
    });
    let widths: Vec<_> = widths.collect();
    let rows =
        rows.iter().map(|row| TableRow::new(columns.iter().map(|(.., cell)| cell(row))).bottom_margin(gap));
    let rows: Vec<_> = rows.collect();
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), area);
}

fn columns<'a>(width: u16) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = vec![("node", 4, Box::new(|row| Cell::from(row.name.clone()).bold()))];
    if width >= ROOM_FOR_PROCESS {
        columns.push(("process", 9, Box::new(process)));
    }
    columns.push(("gateway says", 16, Box::new(|row| Cell::from(row.state.clone()).style(colour(row.mood)))));
    columns.push(("in flight", 0, Box::new(|_| Cell::default())));
    columns.push(("", 4, Box::new(|row| Cell::from(in_flight(row)).bold())));
    if width >= ROOM_FOR_COUNTS {
        columns.push(("   done", 7, Box::new(|row| Cell::from(format!("{:>7}", row.done)))));
        columns.push((" failed", 7, Box::new(|row| Cell::from(format!("{:>7}", row.failed)))));
    }
    columns
}

/// The number, with the limit if there is one.
fn in_flight(row: &Row) -> String {
    let limit = row.max_in_flight.map_or_else(String::new, |limit| format!("/{limit}"));
    format!("{:>4}", format!("{}{limit}", row.in_flight))
}

fn process(row: &Row) -> Cell<'static> {
    if row.running { Cell::from("running") } else { Cell::from("dead").style(colour(Mood::Away)) }
}

/// The colour of a mood.
pub(super) fn colour(mood: Mood) -> Style {
    Style::new().fg(match mood {
        Mood::Well => Color::Green,
        Mood::Coming => Color::Magenta,
        Mood::Away => Color::Red,
    })
}
