//! The layout of the screen: the gateway, the causes, the two tables as far as there is room, the keys.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::answers::Request;
use super::app::{App, Focus, Table};
use super::grid::{Column, Grid, Tone, fitted, width};
use super::head;
use super::model::{Model, Picture};
use super::tables::{NODES, NodeRow, REQUESTS, node_rows};
use super::words::clean;

/// Below this height only the table in focus is shown.
const ROOM_FOR_BOTH: usize = 20;
/// Below this height there is no line of keys.
const ROOM_FOR_KEYS: usize = 6;
/// Lines of a table that are no rows: its title and its heading.
const FRAME: usize = 2;

const KEYS: &[&str] =
    &["q quit", "Tab other table", "s S order", "/ filter", "p pause", "j k PgDn scroll", "? help"];

const HELP: &[&str] = &[
    "Tab, 1, 2               the other table; nodes; requests",
    "j k, arrows, PgUp PgDn  scroll; Home g, End G: to the begin, to the end",
    "s >, <, S               order by the next column, the one before, reversed",
    "/                       show only rows with a text: Enter keeps it, Esc takes it back",
    "p                       pause: keep what is shown",
    "q, Esc, Ctrl-C          quit",
    "",
    "ok, failed   attempts that were answered; that counted against the node",
    "fails/s      such failures a second, within the last 10 s",
    "ttft, token  time to the first token, and from one to the next: median and p99",
    "!!, !, -     requests suffer; it costs speed; for your information",
    "",
    "any key but q goes back",
];

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, app: &mut App, now: Instant) {
    let area = frame.area();
    let lines = lines(model, app, now, area.width.into(), area.height.into());
    for (line, y) in lines.into_iter().zip(area.y..area.bottom()) {
        frame.render_widget(Paragraph::new(line), Rect { y, height: 1, ..area });
    }
}

/// The screen, line by line, no more than its height.
fn lines(model: &Model, app: &mut App, now: Instant, room: usize, height: usize) -> Vec<Line<'static>> {
    let keys = usize::from(height >= ROOM_FOR_KEYS);
    let left = height.saturating_sub(keys);
    let mut lines: Vec<Line<'static>> = head::trouble(model, now).into_iter().collect();
    match (&model.picture, app.is_helping) {
        (_, true) => lines.extend(HELP.iter().copied().map(Line::from)),
        (None, false) if lines.is_empty() => lines.push(Line::from(format!("asking {} ...", model.address))),
        (None, false) => {}
        (Some(picture), false) => {
            lines.extend(head::gateway(model, picture, room, if height >= 12 { 2 } else { 1 }));
            lines.extend(head::causes(picture, room, (height / 5).min(8)));
            let rest = left.saturating_sub(lines.len());
            lines.extend(tables(model, picture, app, room, rest));
        }
    }
    lines.truncate(left);
    lines.resize_with(left, Line::default);
    if keys > 0 {
        lines.push(foot(app, room));
    }
    lines
}

/// The tables in so many lines.
fn tables(model: &Model, picture: &Picture, app: &mut App, room: usize, height: usize) -> Vec<Line<'static>> {
    let nodes = node_rows(model, picture);
    let requests = &picture.open.requests;
    let gap = usize::from(height >= ROOM_FOR_BOTH);
    let (above, below) = match app.focus {
        Focus::Nodes if height < ROOM_FOR_BOTH => (height, 0),
        Focus::Requests if height < ROOM_FOR_BOTH => (0, height),
        focus => split(height - 2 * gap, nodes.len() + FRAME, requests.len() + FRAME, focus),
    };
    let focus = app.focus;
    let mut lines = vec![Line::default(); gap];
    let title =
        |shown: usize| Title { name: "nodes", shown, of: nodes.len(), is_focus: focus == Focus::Nodes };
    lines.extend(table(NODES, &nodes, &mut app.nodes, node_words, title, (room, above)));
    lines.extend(vec![Line::default(); gap]);
    let of = usize::try_from(picture.open.open).unwrap_or(usize::MAX);
    let title = |shown: usize| Title { name: "open requests", shown, of, is_focus: focus == Focus::Requests };
    lines.extend(table(REQUESTS, requests, &mut app.requests, request_words, title, (room, below)));
    lines
}

/// The heights of the two tables: each has what it needs, or at least half; the one in focus two thirds.
fn split(height: usize, above: usize, below: usize, focus: Focus) -> (usize, usize) {
    if above + below <= height {
        return (above, height - above);
    }
    let parts = match focus {
        Focus::Nodes => height * 2 / 3,
        Focus::Requests => height / 3,
    };
    let first = if above <= parts {
        above
    } else if below <= height - parts {
        height - below
    } else {
        parts
    };
    (first, height - first)
}

struct Title {
    name: &'static str,
    shown: usize,
    of: usize,
    is_focus: bool,
}

fn table<R>(
    columns: &[Column<R>],
    rows: &[R],
    state: &mut Table,
    words: fn(&R) -> String,
    title: impl Fn(usize) -> Title,
    (room, height): (usize, usize),
) -> Vec<Line<'static>> {
    if height == 0 {
        return Vec::new();
    }
    let arranged = state.arranged(columns, rows, words);
    let page = height.saturating_sub(FRAME);
    state.fit(arranged.len(), page);
    let range = state.scroll..state.scroll.saturating_add(page).min(arranged.len());
    let mut lines = vec![title_line(&title(arranged.len()), state, &range, room)];
    lines.extend(Grid::new(columns, &arranged, state.order(columns)).lines(room, range));
    lines.truncate(height);
    lines.resize_with(height, Line::default);
    lines
}

fn title_line(title: &Title, state: &Table, range: &std::ops::Range<usize>, room: usize) -> Line<'static> {
    let Title { name, shown, of, is_focus } = title;
    let mark = if *is_focus { "▶ " } else { "  " };
    let mut text = format!("{mark}{name}: {of}");
    if shown < of && !state.filter.is_empty() {
        text += &format!(", {shown} with {:?}", clean(&state.filter));
    }
    if range.len() < *shown {
        text += &format!(", {} to {}", range.start + 1, range.end);
    }
    let text = fitted(&format!("{text} "), room);
    let rest = "─".repeat(room.saturating_sub(width(&text)));
    let tone = if *is_focus { Tone::Strong } else { Tone::Plain };
    Line::from(vec![Span::styled(text, tone.style()), Span::from(rest).dim()])
}

fn foot(app: &mut App, room: usize) -> Line<'static> {
    if app.is_typing() {
        let filter = clean(&app.table().filter);
        return Line::from(fitted(&format!("filter: {filter}_   Enter keeps it, Esc takes it back"), room))
            .bold();
    }
    let mut text = String::new();
    for key in KEYS {
        let gap = if text.is_empty() { "" } else { "   " };
        if width(&text) + gap.len() + key.len() > room {
            break;
        }
        text = text + gap + key;
    }
    let paused = if app.is_paused { "PAUSED   " } else { "" };
    Line::from(vec![Span::from(paused).bold(), Span::from(text).dim()])
}

fn node_words(row: &NodeRow) -> String {
    all_words(NODES, row)
}

fn request_words(row: &Request) -> String {
    all_words(REQUESTS, row)
}

/// All that the row shows, for the filter.
fn all_words<R>(columns: &[Column<R>], row: &R) -> String {
    let cells = columns.iter().filter(|column| !column.is_number).map(|column| (column.cell)(row));
    cells.fold(String::new(), |all, cell| match cell {
        super::grid::Cell::Text(text, _) => all + " " + &text,
        super::grid::Cell::Bar(..) => all,
    })
}
