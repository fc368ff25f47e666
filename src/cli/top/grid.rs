//! A table whose columns fit the width: the least important are left out, the others get what they need.

use std::cmp::Ordering;

use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use crate::cli::bar::bar;

/// The meaning of a text. Each colour only repeats what the words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Dim,
    Well,
    Coming,
    Warn,
    Bad,
}

impl Tone {
    pub(super) fn style(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Strong => style.bold(),
            Self::Dim => style.dim(),
            Self::Well => style.fg(Color::Green),
            Self::Coming => style.fg(Color::Magenta),
            Self::Warn => style.fg(Color::Yellow),
            Self::Bad => style.fg(Color::Red),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String, Tone),
    /// A part of a whole.
    Bar(u64, u64, Tone),
}

impl Cell {
    pub(super) fn empty() -> Self {
        Self::Text(String::new(), Tone::Plain)
    }

    pub(super) fn plain(text: impl ToString) -> Self {
        Self::Text(text.to_string(), Tone::Plain)
    }

    pub(super) fn some(text: Option<impl ToString>) -> Self {
        text.map_or_else(Self::empty, Self::plain)
    }

    fn width(&self) -> usize {
        match self {
            Self::Text(text, _) => width(text),
            Self::Bar(..) => BAR_MOST,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text, _) if text.is_empty())
    }
}

/// By what rows are ordered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    Number(f64),
    Text(String),
}

impl Key {
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// A column of rows of one kind.
pub(super) struct Column<R> {
    pub name: &'static str,
    /// The higher, the sooner it is left out; 0 is always there.
    pub rank: u8,
    /// The least width in which it is of use; it is no wider than its content.
    pub least: usize,
    pub is_number: bool,
    pub cell: fn(&R) -> Cell,
    pub key: fn(&R) -> Key,
}

const GAP: usize = 2;
const BAR_LEAST: usize = 4;
const BAR_MOST: usize = 12;

/// Rows as cells, with the columns that have something to show.
pub(super) struct Grid {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
}

struct Head {
    text: String,
    rank: u8,
    least: usize,
    most: usize,
    is_number: bool,
}

impl Grid {
    /// `sorted` is the column by which the rows are ordered, and true if descending: it is always shown.
    pub(super) fn new<R>(columns: &[Column<R>], rows: &[&R], sorted: Option<(usize, bool)>) -> Self {
        let cells = |column: &Column<R>| rows.iter().map(|row| (column.cell)(row)).collect::<Vec<_>>();
        let (mut heads, mut all) = (Vec::new(), vec![Vec::new(); rows.len()]);
        for (place, column) in columns.iter().enumerate() {
            let cells = cells(column);
            let arrow = sorted.filter(|(by, _)| *by == place).map(|(_, falls)| if falls { "▼" } else { "▲" });
            if arrow.is_none() && column.rank > 0 && cells.iter().all(Cell::is_empty) {
                continue;
            }
            let text = format!("{}{}", column.name, arrow.unwrap_or_default());
            let is_bar = cells.iter().any(|cell| matches!(cell, Cell::Bar(..)));
            let name = width(&text);
            let most = cells.iter().map(Cell::width).max().unwrap_or(0).max(name);
            let least = if is_bar { BAR_LEAST.max(name) } else { column.least.clamp(name, most) };
            let rank = if arrow.is_some() { 0 } else { column.rank };
            heads.push(Head { text, rank, least, most, is_number: column.is_number });
            all.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        }
        Self { heads, rows: all }
    }

    /// The widths of the columns in this room; 0: it is left out.
    fn widths(&self, room: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.heads.len()).collect();
        order.sort_by_key(|place| self.heads[*place].rank);
        let mut widths = vec![0; self.heads.len()];
        // the last gap needs no room
        let mut left = room.saturating_add(GAP);
        let mut dropped = u8::MAX;
        for place in order.iter().copied() {
            let head = &self.heads[place];
            // no column stands where one that matters more was left out
            if head.rank > 0 && (head.rank > dropped || head.least + GAP > left) {
                dropped = dropped.min(head.rank);
                continue;
            }
            widths[place] = head.least;
            left = left.saturating_sub(head.least + GAP);
        }
        for place in order.into_iter().filter(|place| self.heads[*place].least > 0) {
            if widths[place] > 0 {
                let more = (self.heads[place].most - widths[place]).min(left);
                widths[place] += more;
                left -= more;
            }
        }
        widths
    }

    /// The heading and these rows, no wider than the room.
    pub(super) fn lines(&self, room: usize, rows: std::ops::Range<usize>) -> Vec<Line<'static>> {
        let widths = self.widths(room);
        let heads = self.heads.iter().map(|head| Cell::Text(head.text.clone(), Tone::Dim));
        let mut lines = vec![self.line(&heads.collect::<Vec<_>>(), &widths)];
        let end = rows.end.min(self.rows.len());
        let shown = self.rows.get(rows.start.min(end)..end).unwrap_or_default();
        lines.extend(shown.iter().map(|row| self.line(row, &widths)));
        lines
    }

    fn line(&self, cells: &[Cell], widths: &[usize]) -> Line<'static> {
        let mut spans = Vec::new();
        for ((cell, head), width) in
            cells.iter().zip(&self.heads).zip(widths).filter(|(_, width)| **width > 0)
        {
            if !spans.is_empty() {
                spans.push(Span::from(" ".repeat(GAP)));
            }
            let (text, tone) = match cell {
                Cell::Text(text, tone) => (fitted(text, *width), *tone),
                Cell::Bar(value, full, tone) => (bar(*value, *full, *width), *tone),
            };
            spans.push(Span::styled(padded(&text, *width, head.is_number), tone.style()));
        }
        Line::from(spans)
    }
}

/// The columns that a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

/// The text, or its beginning and an ellipsis, in no more than this width.
pub(super) fn fitted(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = room.saturating_sub(1);
    for letter in text.chars() {
        let needs = width(letter.encode_utf8(&mut [0; 4]));
        if needs > left {
            break;
        }
        left -= needs;
        cut.push(letter);
    }
    if room > 0 {
        cut.push('…');
    }
    cut
}

fn padded(text: &str, room: usize, to_the_right: bool) -> String {
    let pad = " ".repeat(room.saturating_sub(width(text)));
    if to_the_right { pad + text } else { text.to_owned() + &pad }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (String, u64);

    const COLUMNS: &[Column<Row>] = &[
        Column {
            name: "name",
            rank: 0,
            least: 4,
            is_number: false,
            cell: |row| Cell::plain(&row.0),
            key: |row| Key::Text(row.0.clone()),
        },
        Column {
            name: "count",
            rank: 2,
            least: 5,
            is_number: true,
            cell: |row| Cell::plain(row.1),
            key: |row| Key::Number(row.1 as f64),
        },
        Column {
            name: "load",
            rank: 1,
            least: 4,
            is_number: false,
            cell: |row| Cell::Bar(row.1, 8, Tone::Well),
            key: |row| Key::Number(row.1 as f64),
        },
        Column {
            name: "never",
            rank: 1,
            least: 4,
            is_number: false,
            cell: |_| Cell::empty(),
            key: |_| Key::Number(0.0),
        },
    ];

    fn shown(rows: &[Row], room: usize, sorted: Option<(usize, bool)>) -> Vec<String> {
        let grid = Grid::new(COLUMNS, &rows.iter().collect::<Vec<_>>(), sorted);
        grid.lines(room, 0..9).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_are_left_out_by_rank() {
        let rows = [("a".to_owned(), 4), ("a longer one".to_owned(), 8)];
        for (room, sorted, want) in [
            (4, None, ["name", "a   ", "a l…"]),
            (12, None, ["name    load", "a       ██  ", "a lon…  ████"]),
            (13, None, ["name     load", "a        ██  ", "a long…  ████"]),
            (19, None, ["name    count  load", "a           4  ██  ", "a lon…      8  ████"]),
            (13, Some((1, true)), ["name   count▼", "a           4", "a lo…       8"]),
        ] {
            let lines = shown(&rows, room, sorted);
            assert_eq!(
                lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
                want.map(str::trim_end),
                "{room}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_room(names in proptest::collection::vec("\\PC{0,30}", 0..5), room in 4_usize..90) {
            let rows: Vec<Row> = names.into_iter().zip(0..).collect();
            for line in shown(&rows, room, None) {
                prop_assert!(width(&line) <= room, "{room}: {line:?}");
            }
        }

        #[test]
        fn what_is_cut_fits(text in "\\PC{0,40}", room in 0_usize..50) {
            prop_assert!(width(&fitted(&text, room)) <= room);
        }
    }
}
