//! The lines above the tables: the gateway in a line, its silence, and the causes of what is seen.

use std::time::Instant;

use ratatui::style::Stylize;
use ratatui::text::{Line, Span};

use super::answers::Cause;
use super::grid::{Tone, fitted, width};
use super::model::{Model, Picture};
use super::words::{age, clean, rate};

/// The width of a cause's mark.
const MARK: usize = 3;

/// The gateway in as many lines of this width as it needs, at most `most`.
pub(super) fn gateway(model: &Model, picture: &Picture, room: usize, most: usize) -> Vec<Line<'static>> {
    let status = &picture.status;
    let strong = |text: String| (text, Tone::Strong);
    let plain = |text: String| (text, Tone::Plain);
    let mut parts = vec![
        strong(format!("evenkeel {}", clean(&status.version))),
        plain(model.address.clone()),
        strong(format!("{} in flight", status.in_flight())),
        match status.waiting() {
            0 => plain("0 waiting".to_owned()),
            waiting => (format!("{waiting} waiting"), Tone::Warn),
        },
    ];
    if let Some(requests) = model.requests_per_second() {
        parts.push(plain(format!("{} requests/s", rate(requests))));
    }
    if status.stopping {
        parts.insert(1, ("is stopping".to_owned(), Tone::Bad));
    }
    parts.push(plain(format!("{} open", picture.open.open)));
    parts.push(plain(format!("up {}", age(status.uptime_seconds as f64))));
    parts.push(plain(format!("generation {}", status.config_generation)));
    wrapped(parts, room, most)
}

fn wrapped(parts: Vec<(String, Tone)>, room: usize, most: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for (text, tone) in parts {
        let text = fitted(&text, room);
        let used = lines.last().map_or(0, Line::width);
        let gap = if used == 0 { "" } else { "   " };
        if used > 0 && used + gap.len() + width(&text) > room {
            if lines.len() >= most {
                break;
            }
            lines.push(Line::from(Span::styled(text, tone.style())));
        } else if let Some(line) = lines.last_mut() {
            line.push_span(Span::from(gap));
            line.push_span(Span::styled(text, tone.style()));
        }
    }
    lines
}

/// The line that says that the gateway does not answer.
pub(super) fn trouble(model: &Model, now: Instant) -> Option<Line<'static>> {
    let text = model.trouble(now)?;
    Some(Line::from(Span::styled(format!("!! {}", clean(&text)), Tone::Bad.style().bold())))
}

/// The causes in at most so many lines; those that have no room are counted.
pub(super) fn causes(picture: &Picture, room: usize, most: usize) -> Vec<Line<'static>> {
    let causes = &picture.status.causes;
    let is_alone = picture.status.pools.len() < 2;
    let mut lines = Vec::new();
    for (place, cause) in causes.iter().enumerate() {
        let (mark, tone) = mark_of(cause);
        let texts = broken(&text_of(cause, is_alone), room.saturating_sub(MARK), most);
        let more = usize::from(place + 1 < causes.len());
        if lines.len() + texts.len() + more > most {
            let left = causes.len() - place;
            lines.push(Line::from(format!("{:MARK$}{left} more", "")).dim());
            break;
        }
        let marks = std::iter::once(mark).chain(std::iter::repeat(""));
        let line =
            |(text, mark): (String, _)| Span::styled(format!("{mark:MARK$}{text}"), tone.style()).into();
        lines.extend(texts.into_iter().zip(marks).map(line));
    }
    lines.truncate(most);
    lines
}

fn mark_of(cause: &Cause) -> (&'static str, Tone) {
    match cause.severity.as_str() {
        "bad" => ("!!", Tone::Bad),
        "warn" => ("!", Tone::Warn),
        _ => ("-", Tone::Plain),
    }
}

fn text_of(cause: &Cause, is_alone: bool) -> String {
    let pool = cause.pool.as_ref().filter(|_| !is_alone);
    let pool = pool.map_or_else(String::new, |pool| format!("{pool}: "));
    clean(&format!("{pool}{}", cause.text))
}

/// The text in lines of this width, broken between words. The last of `most` lines is cut instead.
fn broken(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let is_last = lines.len() >= most.max(1);
        if let Some(line) = lines.last_mut()
            && (line.is_empty() || is_last || width(line) + 1 + width(word) <= room)
        {
            let gap = if line.is_empty() { "" } else { " " };
            *line = format!("{line}{gap}{word}");
            continue;
        }
        lines.push(word.to_owned());
    }
    lines.iter().map(|line| fitted(line, room)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::testing::{picture, pool};

    fn cause(severity: &str, text: &str) -> Cause {
        Cause { severity: severity.to_owned(), pool: Some("p".to_owned()), text: text.to_owned() }
    }

    fn texts_of(picture: &Picture, room: usize, most: usize) -> Vec<String> {
        causes(picture, room, most).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn causes_are_marked_and_the_rest_is_counted() {
        let mut picture = picture(vec![pool("p", vec![]), pool("q", vec![])]);
        picture.status.causes = vec![
            cause("bad", "node a is out"),
            cause("warn", "b is slow"),
            cause("info", "c comes\x07 back"),
        ];
        let texts = |room, most| texts_of(&picture, room, most);
        assert_eq!(texts(80, 3), ["!! p: node a is out", "!  p: b is slow", "-  p: c comes\u{fffd} back"]);
        assert_eq!(texts(80, 2), ["!! p: node a is out", "   2 more"]);
        assert_eq!(texts(14, 3), ["!! p: node a", "   is out", "   2 more"]);
        assert_eq!(texts(14, 1), ["   3 more"]);
        assert_eq!(texts(80, 0), [""; 0]);
        picture.status.causes.truncate(1);
        assert_eq!(texts_of(&picture, 12, 1), ["!! p: node …"]);
    }

    #[test]
    fn the_gateway_takes_the_lines_it_needs() {
        let model = Model::new("127.0.0.1:9990", Instant::now());
        let picture = picture(vec![]);
        let texts = |room, most| {
            gateway(&model, &picture, room, most).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            texts(120, 2),
            ["evenkeel 1.2.3   127.0.0.1:9990   0 in flight   0 waiting   0 open   up 0.0s   generation 0"]
        );
        assert_eq!(
            texts(58, 2),
            ["evenkeel 1.2.3   127.0.0.1:9990   0 in flight   0 waiting", "0 open   up 0.0s   generation 0"]
        );
        assert_eq!(texts(18, 1), ["evenkeel 1.2.3"]);
    }
}
