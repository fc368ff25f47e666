//! The line of status that `systemctl status` shows.

/// The most bytes of a problem that the line has.
const PROBLEM_MAX: usize = 300;

/// The state of a gateway that serves.
#[derive(Debug)]
pub(super) struct View {
    pub generation: u64,
    pub pools: usize,
    pub nodes: usize,
    /// Those of them that get requests.
    pub up: usize,
    /// The problems for which the last reload was refused.
    pub refused: Option<String>,
}

impl View {
    pub(super) fn line(&self) -> String {
        let Self { generation, pools, nodes, up, refused } = self;
        let fleet = format!("{}, {up} of {} up", counted(*pools, "pool"), counted(*nodes, "node"));
        match refused {
            None => format!("generation {generation}: {fleet}"),
            Some(problems) => {
                let more = problems.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                let first = cut(problems.lines().next().unwrap_or_default());
                format!("reload refused, generation {generation} stays in use: {first}{more}; {fleet}")
            }
        }
    }
}

pub(super) fn stopping(requests: u64) -> String {
    format!("stopping: {} in flight", counted(usize::try_from(requests).unwrap_or(usize::MAX), "request"))
}

fn cut(text: &str) -> &str {
    let end = (0..=PROBLEM_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_the_fleet_is() {
        let view = |refused: Option<&str>| View {
            generation: 3,
            pools: 1,
            nodes: 8,
            up: 7,
            refused: refused.map(str::to_owned),
        };
        let long = format!("{}é{}", "x".repeat(PROBLEM_MAX - 1), "y".repeat(PROBLEM_MAX));
        let table = [
            (view(None), "generation 3: 1 pool, 7 of 8 nodes up".to_owned()),
            (
                view(Some("a.yaml:4: server.threads: is no number")),
                "reload refused, generation 3 stays in use: a.yaml:4: server.threads: is no number; 1 pool, 7 of 8 nodes up".to_owned(),
            ),
            (
                view(Some("a.yaml:1: one\na.yaml:2: two\n\na.yaml:3: three")),
                "reload refused, generation 3 stays in use: a.yaml:1: one (and 2 more); 1 pool, 7 of 8 nodes up".to_owned(),
            ),
            (
                view(Some(&long)),
                format!(
                    "reload refused, generation 3 stays in use: {}; 1 pool, 7 of 8 nodes up",
                    "x".repeat(PROBLEM_MAX - 1)
                ),
            ),
        ];
        for (view, line) in table {
            assert_eq!(view.line(), line);
            assert!(!view.line().contains('\n'), "a note has a field a line");
        }
        assert_eq!(stopping(1), "stopping: 1 request in flight");
        assert_eq!(stopping(0), "stopping: 0 requests in flight");
    }
}
