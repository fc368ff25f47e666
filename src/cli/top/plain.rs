//! The same as lines of text, without a terminal.

use std::time::Instant;

use ratatui::text::Line;

use super::answers::Request;
use super::grid::Grid;
use super::head;
use super::model::Model;
use super::tables::{AGE, NODES, NodeRow, REQUESTS, node_rows};

/// One block: the gateway, the causes, all nodes, the oldest of the open requests.
pub(super) fn block(model: &Model, now: Instant) -> String {
    let mut lines: Vec<Line<'static>> = head::trouble(model, now).into_iter().collect();
    // what was known before is not told again
    if let Some(picture) = model.picture.as_ref().filter(|_| lines.is_empty()) {
        lines.extend(head::gateway(model, picture, usize::MAX, 1));
        lines.extend(head::causes(picture, usize::MAX, usize::MAX));
        let nodes = node_rows(model, picture);
        let rows: Vec<&NodeRow> = nodes.iter().collect();
        lines.extend(Grid::new(NODES, &rows, None).lines(usize::MAX - 9, 0..rows.len()));
        let rows: Vec<&Request> = picture.open.requests.iter().collect();
        if !rows.is_empty() {
            lines.extend(Grid::new(REQUESTS, &rows, Some((AGE, true))).lines(usize::MAX - 9, 0..rows.len()));
        }
    }
    let text = |line: &Line<'_>| line.to_string().trim_end().to_owned() + "\n";
    lines.iter().map(text).collect::<String>() + "\n"
}
