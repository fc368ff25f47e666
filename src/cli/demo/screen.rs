//! The table on the terminal. Colours are the terminal's own, so that they fit light and dark, and every colour says
//! what a word beside it says too.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Sparkline, Table};

use super::bar::bar;
use super::history::History;
use super::journal::{Entry, Journal, Who};
use super::picture::{Mood, Picture, Row};
use super::stage::Stage;
use super::words;

/// From these heights on there is room for more than the table.
const ROOM_FOR_HISTORY: u16 = 22;
const ROOM_FOR_SPACE: u16 = 16;
/// Below these widths columns are left out.
const ROOM_FOR_PROCESS: u16 = 76;
const ROOM_FOR_FAILED: u16 = 46;

/// All that is drawn.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    pub picture: &'a Picture,
    pub rows: &'a [Row],
    pub journal: &'a Journal,
    pub history: &'a History,
}

pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    let area = frame.area();
    let margin = u16::from(area.width >= ROOM_FOR_FAILED);
    let area = Rect { x: margin, width: area.width.saturating_sub(2 * margin), ..area };
    let nodes = u16::try_from(scene.rows.len()).unwrap_or(u16::MAX);
    let space = u16::from(area.height >= ROOM_FOR_SPACE);
    let curve = if area.height >= ROOM_FOR_HISTORY { curve_height(area.height) } else { 0 };
    let history = if curve > 0 { nodes * curve + 2 } else { 0 };
    let foot = if area.height >= 10 { 1 + space } else { 0 };
    let [title, table, totals, curves, events, curl] = Layout::vertical([
        Constraint::Length(1 + space),
        Constraint::Length(nodes + 1 + space),
        Constraint::Length(1 + space),
        Constraint::Length(history),
        Constraint::Fill(1),
        Constraint::Length(foot),
    ])
    .areas(area);
    frame.render_widget(title_line(scene, area.width), title);
    draw_table(frame, scene, table);
    frame.render_widget(totals_line(scene), totals);
    if curve > 0 {
        draw_curves(frame, scene, curves, curve);
    }
    draw_events(frame, scene, events);
    draw_curl(frame, scene, curl);
}

/// Lines of each node's curve.
fn curve_height(height: u16) -> u16 {
    if height >= 34 { 4 } else { 2 }
}

fn title_line(scene: &Scene<'_>, width: u16) -> Line<'static> {
    let keys = format!("{}  q ends it", words::clock(scene.picture.elapsed));
    let room = usize::from(width).saturating_sub(keys.len());
    let mut name = format!("Evenkeel demo  {}", scene.stage.describe());
    if name.chars().count() + 2 > room {
        name = "Evenkeel demo".to_owned();
    }
    Line::from(vec![Span::from(format!("{name:<room$}")).bold(), Span::from(keys)])
}

fn draw_table(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let with_process = area.width >= ROOM_FOR_PROCESS;
    let with_failed = area.width >= ROOM_FOR_FAILED;
    let mut widths = vec![Constraint::Length(4)];
    let mut header = vec!["node"];
    if with_process {
        widths.push(Constraint::Length(9));
        header.push("process");
    }
    widths.extend([Constraint::Length(16), Constraint::Fill(1), Constraint::Length(4)]);
    header.extend(["gateway says", "in flight", ""]);
    if with_failed {
        widths.extend([Constraint::Length(7), Constraint::Length(7)]);
        header.extend(["   done", " failed"]);
    }
    let fixed: u16 =
        widths.iter().map(|width| if let Constraint::Length(width) = width { *width } else { 0 }).sum();
    let gaps = u16::try_from(widths.len().saturating_sub(1)).unwrap_or(0);
    let bar_width = usize::from(area.width.saturating_sub(fixed + gaps));
    let full = scene.stage.clients as u64;
    let rows = scene.rows.iter().map(|row| {
        let mut cells = vec![Cell::from(row.name.clone()).bold()];
        if with_process {
            let process = if row.running { "running" } else { "dead" };
            let style = if row.running { Style::new() } else { colour(Mood::Away) };
            cells.push(Cell::from(process).style(style));
        }
        cells.push(Cell::from(row.state.clone()).style(colour(row.mood)));
        cells.push(Cell::from(bar(row.in_flight.into(), full, bar_width)).style(colour(row.mood)));
        cells.push(Cell::from(format!("{:>4}", row.in_flight)).bold());
        if with_failed {
            cells.push(Cell::from(format!("{:>7}", row.done)));
            cells.push(Cell::from(format!("{:>7}", row.failed)));
        }
        TableRow::new(cells)
    });
    let header = TableRow::new(header).style(Style::new().dim());
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), area);
}

fn colour(mood: Mood) -> Style {
    Style::new().fg(match mood {
        Mood::Well => Color::Green,
        Mood::Coming => Color::Magenta,
        Mood::Away => Color::Red,
    })
}

fn totals_line(scene: &Scene<'_>) -> Line<'static> {
    let counts = scene.picture.counts;
    let failed = Span::from(format!("{} failed", counts.failed)).bold();
    let failed = failed.style(colour(if counts.failed == 0 { Mood::Well } else { Mood::Away }));
    let retried = scene.picture.retried();
    let ejections = words::counted(scene.picture.ejections(), "ejection");
    Line::from(vec![
        Span::from("clients ").dim(),
        Span::from(format!(" {} waiting, {} answered, ", counts.in_flight, counts.done)),
        failed,
        Span::from("   gateway ").dim(),
        Span::from(format!(" {retried} retried, {ejections}")),
    ])
}

fn draw_curves(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, height: u16) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(heading("in flight, second by second", area.width), head);
    for (place, row) in scene.rows.iter().enumerate() {
        let offset = u16::try_from(place).unwrap_or(u16::MAX).saturating_mul(height);
        let lane = Rect { y: body.y + offset, height, ..body };
        let [name, curve] = Layout::horizontal([Constraint::Length(3), Constraint::Fill(1)]).areas(lane);
        let label = Rect { y: name.y + height - 1, height: 1, ..name };
        frame.render_widget(Line::from(row.name.clone()).bold(), label);
        let samples = scene.history.last(place, usize::from(curve.width));
        let spark =
            Sparkline::default().data(samples).max(scene.stage.clients as u64).style(colour(row.mood));
        frame.render_widget(spark, curve);
    }
}

fn draw_events(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    if area.height < 2 {
        return;
    }
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(heading("what happens", area.width), head);
    let lines: Vec<_> = scene.journal.last(body.height.into()).map(event_line).collect();
    frame.render_widget(Paragraph::new(lines), body);
}

fn event_line(entry: &Entry) -> Line<'_> {
    let who = Span::from(format!(" {:<8}", entry.who.as_str()));
    let who = if entry.who == Who::Gateway { who.bold() } else { who };
    Line::from(vec![Span::from(entry.time.as_str()).dim(), who, Span::from(entry.what.as_str())])
}

fn heading(text: &'static str, width: u16) -> Line<'static> {
    let rest = usize::from(width).saturating_sub(text.len() + 1);
    Line::from(format!("{text} {}", "─".repeat(rest))).dim()
}

fn draw_curl(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut lines = Vec::new();
    if area.height > 1 {
        lines.push(heading("ask something yourself", area.width));
    }
    lines.push(Line::from(scene.stage.curl()));
    frame.render_widget(Paragraph::new(lines), area);
}
