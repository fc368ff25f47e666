//! The layout of the demo's screen: table and totals first, more as far as there is room.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline, SparklineBar};

use super::about::About;
use super::class_table;
use super::history::History;
use super::journal::{Entry, Journal, Who};
use super::picture::{Mood, Picture, Row};
use super::table::{self, colour};
use super::words;

/// Heights from which there is room for more than the table.
const ROOM_FOR_HISTORY: u16 = 22;
const ROOM_FOR_SPACE: u16 = 16;
/// Height from which curves have five lines and bars do not touch.
const ROOM_FOR_ALL: u16 = 33;
/// Width from which there is a margin.
const ROOM_FOR_MARGIN: u16 = 46;

/// Everything to be drawn.
pub(super) struct Scene<'a> {
    pub about: &'a About,
    pub picture: &'a Picture,
    pub rows: &'a [Row],
    pub journal: &'a Journal,
    pub history: &'a History,
}

pub(super) fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    let area = frame.area();
    let margin = u16::from(area.width >= ROOM_FOR_MARGIN);
    let area = Rect { x: margin, width: area.width.saturating_sub(2 * margin), ..area };
    let nodes = u16::try_from(scene.rows.len()).unwrap_or(u16::MAX);
    let classes = classes_height(scene);
    // the height without the classes, which come before all that needs room
    let height = area.height.saturating_sub(classes);
    let space = u16::from(height >= ROOM_FOR_SPACE);
    let gap = u16::from(height >= ROOM_FOR_ALL);
    let curve = if height >= ROOM_FOR_HISTORY { curve_height(height) } else { 0 };
    let history = if curve > 0 { nodes * curve + 2 } else { 0 };
    let totals = totals(scene, area.width);
    let totals_height = u16::try_from(totals.len()).unwrap_or(1);
    let foot = foot(scene, area.width, height);
    let foot_height = u16::try_from(foot.len()).unwrap_or(0);
    let table_height = nodes + gap * nodes.saturating_sub(1) + 1 + space;
    let [head, tables, totals_area, curves, events, foot_area] = Layout::vertical([
        Constraint::Length(1 + space),
        Constraint::Length(table_height + if classes > 0 { classes + space } else { 0 }),
        Constraint::Length(totals_height + space),
        Constraint::Length(history),
        Constraint::Fill(1),
        Constraint::Length(foot_height),
    ])
    .areas(area);
    frame.render_widget(title_line(scene, area.width), head);
    let nodes_area = Rect { height: table_height.min(tables.height), ..tables };
    table::draw(frame, nodes_area, scene.rows, scene.about.cast.full(), gap);
    if classes > 0 {
        let (y, height) = (nodes_area.bottom(), tables.height - nodes_area.height);
        class_table::draw(frame, Rect { y, height, ..tables }, &scene.picture.classes);
    }
    frame.render_widget(Paragraph::new(totals), totals_area);
    if curve > 0 {
        draw_curves(frame, scene, curves, curve);
    }
    draw_events(frame, scene, events);
    frame.render_widget(Paragraph::new(foot), foot_area);
}

/// Lines of the table of classes; 0 without classes.
fn classes_height(scene: &Scene<'_>) -> u16 {
    match u16::try_from(scene.picture.classes.len()).unwrap_or(u16::MAX) {
        0 => 0,
        rows => rows.saturating_add(1),
    }
}

/// Lines of each node's curve.
fn curve_height(height: u16) -> u16 {
    if height >= ROOM_FOR_ALL { 5 } else { 2 }
}

fn title_line(scene: &Scene<'_>, width: u16) -> Line<'static> {
    let keys = format!("{}  q ends it", words::clock(scene.picture.elapsed));
    let room = usize::from(width).saturating_sub(keys.len());
    let name = scene.about.describe(room.saturating_sub(2));
    Line::from(vec![Span::from(format!("{name:<room$}")).bold(), Span::from(keys)])
}

/// The totals, on one line if the screen is wide enough, otherwise on two.
fn totals(scene: &Scene<'_>, width: u16) -> Vec<Line<'static>> {
    let counts = scene.picture.counts;
    // the table of classes says for what they wait
    let waiting = match &scene.picture.classes[..] {
        [] => format!(", {} waiting", counts.in_flight),
        _ => String::new(),
    };
    let mood = if counts.failed == 0 { Mood::Well } else { Mood::Away };
    let clients = vec![
        Span::from("clients  ").dim(),
        Span::styled(format!("{} failed", counts.failed), colour(mood).bold()),
        Span::from(format!(", {} answered{waiting}", counts.done)),
    ];
    let ejections = words::counted(scene.picture.ejections(), "ejection");
    let retried = scene.picture.retried();
    let gateway = vec![Span::from("gateway  ").dim(), Span::from(format!("{retried} retried, {ejections}"))];
    let line = Line::from([clients.clone(), vec![Span::from("    ")], gateway.clone()].concat());
    if line.width() <= usize::from(width) { vec![line] } else { vec![clients.into(), gateway.into()] }
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
        // an eighth of headroom even when one node has all requests, or the curves would touch
        let full = scene.about.cast.full() * 9 / 8;
        let samples = scene.history.last(place, usize::from(curve.width));
        let bars = samples
            .into_iter()
            .map(|sample| SparklineBar::from(sample.in_flight).style(Some(colour(sample.mood))));
        frame.render_widget(Sparkline::default().data(bars).max(full), curve);
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

/// A command to try; empty where there is room only for the table.
fn foot(scene: &Scene<'_>, width: u16, height: u16) -> Vec<Line<'static>> {
    let curl = scene.about.curl(width.into()).into_iter().map(Line::from);
    match height {
        ROOM_FOR_SPACE.. => std::iter::once(heading("ask something yourself", width)).chain(curl).collect(),
        10.. => curl.collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::cast::{Cast, Line};
    use super::super::classes::testing;
    use super::super::picture::testing::{node, pool};
    use super::*;
    use crate::fleet::NodeState;
    use crate::sim::load::Counts;

    fn drawn(width: u16, height: u16) -> String {
        drawn_with(Cast::Alike(24), width, height)
    }

    fn drawn_with_classes(width: u16, height: u16) -> String {
        let line = Line { slots: 24, reserve: 25 };
        drawn_with(Cast::Classes { people: 3, batch: 40, line }, width, height)
    }

    fn drawn_with(cast: Cast, width: u16, height: u16) -> String {
        let mut journal = Journal::new(std::time::Duration::ZERO);
        (0..50).for_each(|number| journal.say(format!("line {number}")));
        let nodes = vec![node("a", NodeState::Up, 24), node("b", NodeState::Ejected, 0)];
        let picture = Picture {
            at: std::time::Instant::now(),
            elapsed: std::time::Duration::from_secs(71),
            counts: Counts { sent: 31, in_flight: 24, done: 7, failed: 0, cut: 0 },
            classes: if cast.line().is_some() { testing::rows() } else { Vec::new() },
            running: vec![true, false],
            pool: Some(pool(nodes)),
        };
        let rows = picture.rows();
        let mut history = History::default();
        history.note(picture.elapsed, &rows);
        let about = About { cast, address: "127.0.0.1:9999".parse().unwrap(), admin: None };
        let scene =
            Scene { about: &about, picture: &picture, rows: &rows, journal: &journal, history: &history };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &scene)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn any_size_can_be_drawn() {
        for width in [1, 2, 3, 5, 9, 20, 45, 46, 47, 76, 80, 300] {
            for height in (0..24).chain([32, 33, 60]) {
                let _ = drawn(width, height);
                let _ = drawn_with_classes(width, height);
            }
        }
    }

    #[test]
    fn a_usual_screen_shows_everything_important() {
        let screen = drawn(80, 24);
        for wanted in
            ["1:11", "ejected 4 s", "dead", "0 failed, 7 answered, 24 waiting", "line 49", "curl -i"]
        {
            assert!(screen.contains(wanted), "{wanted:?} is missing in\n{screen}");
        }
        assert!(screen.contains(&"█".repeat(22)), "{screen}");
        let small = drawn(40, 6);
        assert!(small.contains("ejected 4 s") && small.contains("0 failed"), "{small}");
    }

    #[test]
    fn the_line_and_the_classes_are_on_a_usual_screen() {
        let screen = drawn_with_classes(80, 24);
        let wanted = [
            "3 people and a batch of 40",
            "waiting in line",
            "ejected 4 s",
            "0 failed",
            "line 49",
            "X-Priority",
        ];
        for wanted in wanted {
            assert!(screen.contains(wanted), "{wanted:?} is missing in\n{screen}");
        }
        let row = |class: &str| screen.lines().find(|line| line.contains(class)).expect("a row").to_owned();
        let (people, batch) = (row(" interactive   "), row(" batch   "));
        assert!(!people.contains('█') && people.contains("3.0 s") && people.contains("5.6 s"), "{screen}");
        assert!(
            batch.contains("██████████") && batch.contains("  28 ") && batch.contains("9.8 s"),
            "{screen}"
        );
        let small = drawn_with_classes(40, 10);
        assert!(small.contains("batch") && small.contains("0 failed"), "{small}");
    }
}
