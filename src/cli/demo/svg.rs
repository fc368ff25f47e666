//! Writing terminal screens as one animated SVG, without scripts or fonts. Parts that do not change from frame to
//! frame are written once, so a minute takes some 70 KB.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Size of a cell in pixels: a monospaced character is 0.6 of its font size wide.
const CELL: (usize, usize) = (10, 20);
const STYLE: &str = "text{font:16.6px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
                     fill:#e6edf3;white-space:pre}.b{font-weight:700}.d{fill:#8b949e}.r{fill:#ff7b72}.g{fill:#3fb950}\
                     .m{fill:#d2a8ff}path{shape-rendering:crispEdges}";
const MARGIN: usize = 15;
const TITLE_BAR: usize = 38;

/// The settings of an animation.
pub(super) struct Playback {
    pub frame: Duration,
    /// Time for which the last frame stays.
    pub hold: Duration,
    pub title: &'static str,
}

/// A mark drawn at one place. Blocks are single cells, so that a curve that grows adds only its new column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Block { class: &'static str, x: usize, y: usize, part: Part },
    Text { class: &'static str, x: usize, y: usize, text: String },
}

/// The filled eighths of a cell, or its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    FromBelow(usize),
    FromLeft(usize),
    Rule,
}

/// A range of frames: the first, and the one after the last.
type Span = (usize, usize);

pub(super) fn animation(frames: &[Buffer], playback: &Playback) -> String {
    let size = frames.first().map(|frame| frame.area).unwrap_or_default();
    let width = usize::from(size.width) * CELL.0 + 2 * MARGIN;
    let height = usize::from(size.height) * CELL.1 + TITLE_BAR + MARGIN;
    let time = playback.frame * u32::try_from(frames.len()).unwrap_or(u32::MAX) + playback.hold;
    let percent = |frame: usize| frame as f64 * playback.frame.as_secs_f64() / time.as_secs_f64() * 100.0;
    let mut keys = String::new();
    let mut body = String::new();
    for (number, ((from, to), marks)) in spans(frames).into_iter().enumerate() {
        let last = to == frames.len();
        let mut steps = String::new();
        // writing to a String cannot fail
        if from > 0 {
            let _ = write!(steps, "0%{{visibility:hidden}}{:.2}%{{visibility:visible}}", percent(from));
        } else if !last {
            steps.push_str("0%{visibility:visible}");
        }
        if !last {
            let _ = write!(steps, "{:.2}%{{visibility:hidden}}", percent(to));
        }
        // viewers without animation show the last frame
        let hidden = if last { "" } else { " visibility=\"hidden\"" };
        if steps.is_empty() {
            body.push_str("<g>");
        } else {
            let _ = write!(keys, "@keyframes k{number}{{{steps}}}#k{number}{{animation-name:k{number}}}");
            let _ = write!(body, "<g id=\"k{number}\"{hidden}>");
        }
        draw(&mut body, &marks);
        body.push_str("</g>\n");
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <style>{STYLE}g{{animation:{:.2}s step-end infinite}}\n{keys}\n\
         @media(prefers-reduced-motion:reduce){{g{{animation:none!important}}}}</style>\n{}\
         <g transform=\"translate({MARGIN} {TITLE_BAR})\">\n{body}</g></svg>\n",
        time.as_secs_f64(),
        window(width, height, playback.title)
    )
}

/// The window, with its own background so that it looks the same on light and dark pages.
fn window(width: usize, height: usize, title: &str) -> String {
    let dots = [("#ff5f57", 22), ("#febc2e", 42), ("#28c840", 62)];
    let dots = dots.map(|(colour, x)| format!("<circle cx=\"{x}\" cy=\"19\" r=\"6\" fill=\"{colour}\"/>"));
    format!(
        "<rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"9\" fill=\"#161b22\" stroke=\"#3d444d\"/>{}\
         <text class=\"d\" x=\"{}\" y=\"25\" text-anchor=\"middle\">{}</text>\n",
        width - 1,
        height - 1,
        dots.concat(),
        width / 2,
        escaped(title)
    )
}

/// Marks, grouped by the frames that show them.
fn spans(frames: &[Buffer]) -> BTreeMap<Span, Vec<Mark>> {
    let mut open: BTreeMap<Mark, usize> = BTreeMap::new();
    let mut spans: BTreeMap<Span, Vec<Mark>> = BTreeMap::new();
    for (number, frame) in frames.iter().enumerate() {
        let seen = marks(frame);
        open.retain(|mark, from| {
            let stays = seen.contains(mark);
            if !stays {
                spans.entry((*from, number)).or_default().push(mark.clone());
            }
            stays
        });
        for mark in seen {
            open.entry(mark).or_insert(number);
        }
    }
    for (mark, from) in open {
        spans.entry((from, frames.len())).or_default().push(mark);
    }
    spans
}

fn marks(frame: &Buffer) -> BTreeSet<Mark> {
    let width = usize::from(frame.area.width).max(1);
    let mut marks = BTreeSet::new();
    for (y, line) in frame.content.chunks(width).enumerate() {
        let mut x = 0;
        while let Some(cell) = line.get(x) {
            let class = class(cell);
            if let Some(part) = part(cell.symbol()) {
                marks.insert(Mark::Block { class, x, y, part });
                x += 1;
            } else {
                let text = run(&line[x..], class);
                let start = x + text.chars().take_while(|c| *c == ' ').count();
                x += text.chars().count();
                if !text.trim().is_empty() {
                    marks.insert(Mark::Text { class, x: start, y, text: text.trim().to_owned() });
                }
            }
        }
    }
    marks
}

/// The text of the first cells in one style. It also ends at a gap, because the text behind may change by itself.
fn run(cells: &[Cell], class: &str) -> String {
    let mut text = String::new();
    for cell in cells {
        let gap = text.ends_with("  ") && cell.symbol() != " " && !text.trim().is_empty();
        if self::class(cell) != class || part(cell.symbol()).is_some() || gap {
            break;
        }
        text.push_str(cell.symbol());
    }
    text
}

fn class(cell: &Cell) -> &'static str {
    let bold = cell.modifier.contains(Modifier::BOLD);
    match cell.fg {
        Color::Red if bold => "r b",
        Color::Green if bold => "g b",
        Color::Red => "r",
        Color::Green => "g",
        Color::Magenta => "m",
        _ if cell.modifier.contains(Modifier::DIM) => "d",
        _ if bold => "b",
        _ => "",
    }
}

fn part(symbol: &str) -> Option<Part> {
    let eighths = |from: char| symbol.chars().next().map(|c| (c as usize).abs_diff(from as usize));
    match symbol {
        "─" => Some(Part::Rule),
        "▁" | "▂" | "▃" | "▄" | "▅" | "▆" | "▇" | "█" => eighths('▀').map(Part::FromBelow),
        "▉" | "▊" | "▋" | "▌" | "▍" | "▎" | "▏" => eighths('▐').map(Part::FromLeft),
        _ => None,
    }
}

/// Writes marks: each text by itself, all blocks of one colour as one path.
fn draw(out: &mut String, marks: &[Mark]) {
    let mut paths: BTreeMap<&str, String> = BTreeMap::new();
    for mark in marks {
        match mark {
            Mark::Text { class, x, y, text } => {
                let (x, y) = (x * CELL.0, y * CELL.1 + 15);
                let length = text.chars().count() * CELL.0;
                let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
                let text = escaped(text);
                let _ = write!(out, "<text x=\"{x}\" y=\"{y}\"{class} textLength=\"{length}\">{text}</text>");
            }
            Mark::Block { class, x, y, part } => {
                let (x, y) = (x * CELL.0, y * CELL.1);
                let (top, width, height) = match part {
                    Part::FromBelow(eighths) => (20.0 - 2.5 * *eighths as f64, 10.0, 2.5 * *eighths as f64),
                    Part::FromLeft(eighths) => (0.0, 1.25 * *eighths as f64, 20.0),
                    Part::Rule => (10.0, 10.0, 1.0),
                };
                let top = y as f64 + top;
                let path = paths.entry(class).or_default();
                let _ = write!(path, "M{x} {top}h{width}v{height}h-{width}z");
            }
        }
    }
    for (class, path) in paths {
        let _ = write!(out, "<path class=\"{class}\" d=\"{path}\"/>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYBACK: Playback =
        Playback { frame: Duration::from_secs(1), hold: Duration::from_secs(2), title: "t" };

    fn shown(frames: &[&[&str]]) -> String {
        let frames: Vec<_> = frames.iter().map(|lines| Buffer::with_lines(lines.iter().copied())).collect();
        animation(&frames, &PLAYBACK)
    }

    /// The group that contains this text, starting at its tag.
    fn group<'a>(svg: &'a str, text: &str) -> &'a str {
        let (before, _) = svg.split_once(text).unwrap_or_else(|| panic!("{text} is missing in\n{svg}"));
        &before[before.rfind("<g").expect("a group")..]
    }

    #[test]
    fn constant_text_is_written_once_and_changing_text_is_timed() {
        let svg = shown(&[&["same  one"], &["same  two"]]);
        assert_eq!(svg.matches(">same<").count(), 1, "{svg}");
        assert!(group(&svg, ">same<").starts_with("<g><text"), "{svg}");
        // 1 s of 4 s
        assert!(svg.contains("{0%{visibility:visible}25.00%{visibility:hidden}}"), "{svg}");
        assert!(svg.contains("{0%{visibility:hidden}25.00%{visibility:visible}}"), "{svg}");
        assert!(svg.contains("animation:4.00s"), "{svg}");
    }

    #[test]
    fn the_last_frame_is_visible_without_animation() {
        let svg = shown(&[&["one"], &["two"]]);
        assert!(group(&svg, ">one<").contains("visibility=\"hidden\""), "{svg}");
        assert!(!group(&svg, ">two<").contains("visibility"), "{svg}");
    }

    #[test]
    fn blocks_are_drawn_to_the_eighth() {
        let svg = shown(&[&["a█▁▍─"]]);
        for path in ["M10 0h10v20h-10z", "M20 17.5h10v2.5h-10z", "M30 0h3.75v20h-3.75z", "M40 10h10v1h-10z"] {
            assert!(svg.contains(path), "{path} is missing in\n{svg}");
        }
    }

    #[test]
    fn text_is_escaped() {
        let svg = shown(&[&["a <b> & c"]]);
        assert!(svg.contains(">a &lt;b&gt; &amp; c<"), "{svg}");
    }
}
