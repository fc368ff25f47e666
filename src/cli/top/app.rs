//! The user's choices: the table in view, its order, its filter, its place. Keys in, choices out.

use super::grid::{Column, Key as SortKey};
use super::tables::AGE;

/// A key, without the terminal's library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Tab,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C or Ctrl-D.
    Interrupt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Nodes,
    Requests,
}

/// One table's choices.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The column by which its rows are ordered. `None`: the order in which the gateway has them.
    pub sort: Option<usize>,
    pub is_reversed: bool,
    pub filter: String,
    /// Rows above the first one shown.
    pub scroll: usize,
    /// Rows that had room when it was last drawn.
    pub page: usize,
    columns: usize,
}

/// The longest filter, in characters.
const FILTER_MAX: usize = 60;

impl Table {
    fn new(columns: usize, sort: Option<usize>) -> Self {
        Self { sort, is_reversed: false, filter: String::new(), scroll: 0, page: 1, columns }
    }

    fn next_order(&mut self) {
        self.sort = match self.sort {
            None => Some(0),
            Some(last) if last + 1 >= self.columns => None,
            Some(place) => Some(place + 1),
        };
        (self.is_reversed, self.scroll) = (false, 0);
    }

    fn previous_order(&mut self) {
        self.sort = match self.sort {
            None => self.columns.checked_sub(1),
            Some(0) => None,
            Some(place) => Some(place - 1),
        };
        (self.is_reversed, self.scroll) = (false, 0);
    }

    fn scroll(&mut self, key: Key) {
        let page = self.page.max(1);
        self.scroll = match key {
            Key::Up => self.scroll.saturating_sub(1),
            Key::Down => self.scroll.saturating_add(1),
            Key::PageUp => self.scroll.saturating_sub(page),
            Key::PageDown => self.scroll.saturating_add(page),
            Key::Home => 0,
            // drawing stops it at the last page
            _ => usize::MAX,
        };
    }

    /// Notes the room, and keeps the last row at the lower edge.
    pub(super) fn fit(&mut self, rows: usize, page: usize) {
        self.page = page;
        self.scroll = self.scroll.min(rows.saturating_sub(page));
    }

    /// The column by which it is ordered, and true if the highest comes first.
    pub(super) fn order<R>(&self, columns: &[Column<R>]) -> Option<(usize, bool)> {
        let place = self.sort?;
        let column = columns.get(place)?;
        Some((place, column.is_number != self.is_reversed))
    }

    /// The rows that the filter takes, in order.
    pub(super) fn arranged<'a, R>(
        &self,
        columns: &[Column<R>],
        rows: &'a [R],
        words: impl Fn(&R) -> String,
    ) -> Vec<&'a R> {
        let wanted = self.filter.to_lowercase();
        let takes = |row: &&R| wanted.is_empty() || words(row).to_lowercase().contains(&wanted);
        let mut taken: Vec<&R> = rows.iter().filter(takes).collect();
        match self.order(columns) {
            Some((place, falls)) => {
                let mut keyed: Vec<(SortKey, &R)> =
                    taken.into_iter().map(|row| ((columns[place].key)(row), row)).collect();
                keyed.sort_by(|(a, _), (b, _)| if falls { b.compare(a) } else { a.compare(b) });
                keyed.into_iter().map(|(_, row)| row).collect()
            }
            None => {
                if self.is_reversed {
                    taken.reverse();
                }
                taken
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct App {
    pub focus: Focus,
    pub nodes: Table,
    pub requests: Table,
    pub is_paused: bool,
    pub is_helping: bool,
    /// The filter as it was before it is changed.
    typing: Option<String>,
}

impl App {
    pub(super) fn new(node_columns: usize, request_columns: usize) -> Self {
        Self {
            focus: Focus::Nodes,
            nodes: Table::new(node_columns, None),
            requests: Table::new(request_columns, Some(AGE)),
            is_paused: false,
            is_helping: false,
            typing: None,
        }
    }

    pub(super) fn is_typing(&self) -> bool {
        self.typing.is_some()
    }

    pub(super) fn table(&mut self) -> &mut Table {
        match self.focus {
            Focus::Nodes => &mut self.nodes,
            Focus::Requests => &mut self.requests,
        }
    }

    pub(super) fn press(&mut self, key: Key) -> Verdict {
        if key == Key::Interrupt {
            return Verdict::Quit;
        }
        if self.typing.is_some() {
            self.type_filter(key);
            return Verdict::Go;
        }
        if self.is_helping {
            self.is_helping = false;
            return if key == Key::Char('q') { Verdict::Quit } else { Verdict::Go };
        }
        match key {
            Key::Char('q' | 'Q') | Key::Escape => return Verdict::Quit,
            Key::Tab if self.focus == Focus::Nodes => self.focus = Focus::Requests,
            Key::Tab | Key::Char('1') => self.focus = Focus::Nodes,
            Key::Char('2') => self.focus = Focus::Requests,
            Key::Char('j') => self.table().scroll(Key::Down),
            Key::Char('k') => self.table().scroll(Key::Up),
            Key::Char('g') => self.table().scroll(Key::Home),
            Key::Char('G') => self.table().scroll(Key::End),
            Key::Char(' ') => self.table().scroll(Key::PageDown),
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End => {
                self.table().scroll(key);
            }
            Key::Char('s' | '>') => self.table().next_order(),
            Key::Char('<') => self.table().previous_order(),
            Key::Char('S') => {
                let table = self.table();
                (table.is_reversed, table.scroll) = (!table.is_reversed, 0);
            }
            Key::Char('/') => self.typing = Some(self.table().filter.clone()),
            Key::Char('p') => self.is_paused = !self.is_paused,
            Key::Char('?' | 'h') => self.is_helping = true,
            _ => {}
        }
        Verdict::Go
    }

    fn type_filter(&mut self, key: Key) {
        let before = self.typing.take().unwrap_or_default();
        let table = self.table();
        table.scroll = 0;
        match key {
            Key::Enter => return,
            Key::Escape => {
                table.filter = before;
                return;
            }
            Key::Backspace => drop(table.filter.pop()),
            Key::Char(letter) if table.filter.chars().count() < FILTER_MAX => table.filter.push(letter),
            _ => {}
        }
        self.typing = Some(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::tables::REQUESTS;
    use crate::cli::top::testing::request;

    fn pressed(keys: &str) -> App {
        let mut app = App::new(3, 4);
        let key = |c| match c {
            '\t' => Key::Tab,
            '\n' => Key::Enter,
            '\u{8}' => Key::Backspace,
            '\u{1b}' => Key::Escape,
            '↓' => Key::Down,
            '↑' => Key::Up,
            c => Key::Char(c),
        };
        keys.chars().for_each(|c| assert_eq!(app.press(key(c)), Verdict::Go, "{keys}: {c}"));
        app
    }

    #[test]
    fn keys_change_the_table_in_focus() {
        assert_eq!(pressed("\t").focus, Focus::Requests);
        assert_eq!(pressed("\t\t").focus, Focus::Nodes);
        assert_eq!(pressed("21").focus, Focus::Nodes);
        assert_eq!(pressed("ss").nodes.sort, Some(1));
        assert_eq!(pressed("ssss").nodes.sort, None);
        assert_eq!(pressed("<").nodes.sort, Some(2));
        assert_eq!((pressed("ss<").nodes.sort, pressed("<>").nodes.sort), (Some(0), None));
        assert!(pressed("2S").requests.is_reversed && !pressed("2Ss").requests.is_reversed);
        assert_eq!((pressed("jj↓k").nodes.scroll, pressed("2j").nodes.scroll), (2, 0));
        assert_eq!(pressed("G").nodes.scroll, usize::MAX);
        assert!(pressed("p").is_paused && !pressed("pp").is_paused && !pressed("?x").is_helping);
    }

    #[test]
    fn a_filter_takes_every_key_until_enter_and_escape_takes_it_back() {
        assert_eq!(pressed("/q1s\n").nodes.filter, "q1s");
        assert_eq!(pressed("/ab\u{8}c").nodes.filter, "ac");
        assert_eq!(pressed("/a\n/b\u{1b}").nodes.filter, "a");
        assert_eq!(pressed(&format!("/{}", "x".repeat(99))).nodes.filter.len(), FILTER_MAX);
        for (keys, key) in
            [("", Key::Char('q')), ("", Key::Escape), ("/", Key::Interrupt), ("?", Key::Char('q'))]
        {
            assert_eq!(pressed(keys).press(key), Verdict::Quit, "{keys} {key:?}");
        }
    }

    #[test]
    fn rows_are_filtered_and_ordered() {
        let rows: Vec<_> = [(1, "waiting", 3.0), (2, "streaming", 9.0), (3, "streaming", 5.0)]
            .map(|(n, s, a)| request(n, s, a))
            .into();
        let numbers = |table: &Table| -> Vec<u64> {
            table.arranged(REQUESTS, &rows, |row| row.state.clone()).iter().map(|row| row.number).collect()
        };
        let mut table = Table::new(REQUESTS.len(), Some(AGE));
        assert_eq!(numbers(&table), [2, 3, 1]);
        table.is_reversed = true;
        assert_eq!(numbers(&table), [1, 3, 2]);
        table.filter = "STREAM".to_owned();
        assert_eq!(numbers(&table), [3, 2]);
        table.sort = None;
        assert_eq!(numbers(&table), [3, 2]);
        table.sort = Some(1);
        table.is_reversed = false;
        assert_eq!(numbers(&table), [2, 3], "equals keep their order");
        (table.scroll, _) = (9, table.fit(3, 2));
        table.fit(3, 2);
        assert_eq!(table.scroll, 1);
    }
}
