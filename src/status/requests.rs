//! `GET /api/requests`: the requests under way, as JSON or CSV.

use std::cmp::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::csv;
use super::open::{OpenRequest, STATES};
use crate::config::Class;

/// The most rows of one answer.
pub const ROWS_MAX: usize = 10_000;

/// The rows that are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub pool: Option<String>,
    pub node: Option<String>,
    pub class: Option<String>,
    pub state: Option<String>,
    pub sort: Sort,
    pub ascending: bool,
    /// 1 to [`ROWS_MAX`].
    pub limit: usize,
    pub offset: usize,
    pub format: Format,
}

/// The column by which the rows are ordered; among equals the oldest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Age,
    /// The time in its state.
    State,
    Silent,
    Tokens,
    Speed,
    Attempts,
    Pool,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            pool: None,
            node: None,
            class: None,
            state: None,
            sort: Sort::Age,
            ascending: false,
            limit: ROWS_MAX,
            offset: 0,
            format: Format::Json,
        }
    }
}

impl Query {
    /// From pairs that are decoded. The error is a message for people.
    pub fn read(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in pairs {
            query.set(&name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let number = |most| match value.parse() {
            Ok(number) if number <= most => Ok(number),
            _ => Err(format!("{name} must be a whole number up to {most}")),
        };
        match name {
            "pool" => self.pool = Some(value),
            "node" => self.node = Some(value),
            "class" => self.class = Some(one_of(name, value, &Class::ALL.map(Class::as_str))?),
            "state" => self.state = Some(one_of(name, value, &STATES)?),
            "sort" => self.sort = Sort::of(&value)?,
            "order" => {
                self.ascending = match &*value {
                    "asc" => true,
                    "desc" => false,
                    _ => return Err("order must be asc or desc".to_owned()),
                }
            }
            "limit" => self.limit = number(ROWS_MAX)?,
            "offset" => self.offset = number(usize::MAX)?,
            "format" => {
                self.format = match &*value {
                    "json" => Format::Json,
                    "csv" => Format::Csv,
                    _ => return Err("format must be json or csv".to_owned()),
                }
            }
            _ => {
                return Err(format!(
                    "unknown parameter {name:?}; try pool, node, class, state, sort, order, limit, offset, format"
                ));
            }
        }
        Ok(())
    }

    fn takes(&self, one: &OpenRequest) -> bool {
        let is = |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
        let node = one.node.as_ref().map_or("", |node| &*node.name);
        is(&self.pool, one.pool.as_deref().unwrap_or_default())
            && is(&self.node, node)
            && is(&self.class, one.class.as_str())
            && is(&self.state, one.state())
    }
}

fn one_of(name: &str, value: String, words: &[&str]) -> Result<String, String> {
    if words.contains(&&*value) { Ok(value) } else { Err(format!("{name} must be {}", words.join(", "))) }
}

impl Sort {
    fn of(text: &str) -> Result<Self, String> {
        Ok(match text {
            "age" => Self::Age,
            "state" => Self::State,
            "silent" => Self::Silent,
            "tokens" => Self::Tokens,
            "speed" => Self::Speed,
            "attempts" => Self::Attempts,
            "pool" => Self::Pool,
            "node" => Self::Node,
            _ => {
                return Err(
                    "sort must be age, state, silent, tokens, speed, attempts, pool or node".to_owned()
                );
            }
        })
    }

    /// Ascending.
    fn compare(self, a: &OpenRequest, b: &OpenRequest) -> Ordering {
        match self {
            Self::Age => a.age.cmp(&b.age),
            Self::State => a.in_stage.cmp(&b.in_stage),
            Self::Silent => a.silent.cmp(&b.silent),
            Self::Tokens => a.tokens.cmp(&b.tokens),
            Self::Speed => speed(a).unwrap_or_default().total_cmp(&speed(b).unwrap_or_default()),
            Self::Attempts => a.attempts.cmp(&b.attempts),
            Self::Pool => a.pool.cmp(&b.pool),
            Self::Node => a.node.as_ref().map(|node| &node.name).cmp(&b.node.as_ref().map(|node| &node.name)),
        }
    }
}

/// The rows that the query asks for, and the number of all that it takes.
fn rows(mut list: Vec<OpenRequest>, query: &Query) -> (usize, Vec<Row>) {
    list.retain(|one| query.takes(one));
    list.sort_by(|a, b| {
        let by_value = query.sort.compare(a, b);
        let by_value = if query.ascending { by_value } else { by_value.reverse() };
        by_value.then(a.number.cmp(&b.number))
    });
    (list.len(), list.iter().skip(query.offset).take(query.limit).map(Row::of).collect())
}

/// The answer's body.
pub fn text(list: Vec<OpenRequest>, query: &Query) -> String {
    let open = list.len();
    let (total, requests) = rows(list, query);
    match query.format {
        Format::Json => {
            let table = Table { open, total, requests };
            serde_json::to_string(&table).unwrap_or_default()
        }
        Format::Csv => {
            let mut text = csv::line(COLUMNS);
            requests.iter().for_each(|row| text += &row.csv());
            text
        }
    }
}

#[derive(Serialize)]
struct Table {
    /// All requests under way; `requests` in `/api/status` is the same number.
    open: usize,
    /// Those that the filters take.
    total: usize,
    requests: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// Names it to `/api/requests/{number}/cancel`.
    number: u64,
    /// `X-Request-Id`.
    id: String,
    pool: Option<String>,
    /// `null`: it has none now.
    node: Option<String>,
    class: &'static str,
    /// `arriving`, `waiting`, `prefill`, `streaming`, `retrying` or `resumed`.
    state: &'static str,
    method: String,
    path: String,
    attempts: u32,
    age_seconds: f64,
    /// The time in its state.
    state_seconds: f64,
    ttft_seconds: Option<f64>,
    /// Since the last word of its node, once the answer has begun.
    silent_seconds: Option<f64>,
    tokens: u32,
    /// From the first byte on.
    tokens_per_second: Option<f64>,
}

const COLUMNS: [&str; 15] = [
    "number",
    "id",
    "pool",
    "node",
    "class",
    "state",
    "method",
    "path",
    "attempts",
    "age_seconds",
    "state_seconds",
    "ttft_seconds",
    "silent_seconds",
    "tokens",
    "tokens_per_second",
];

impl Row {
    fn of(one: &OpenRequest) -> Self {
        let asked = one.asked.clone();
        Self {
            number: one.number,
            id: asked.id,
            pool: one.pool.as_ref().map(ToString::to_string),
            node: one.node.as_ref().map(|node| node.name.to_string()),
            class: one.class.as_str(),
            state: one.state(),
            method: asked.method,
            path: asked.path,
            attempts: one.attempts,
            age_seconds: seconds(one.age),
            state_seconds: seconds(one.in_stage),
            ttft_seconds: one.ttft.map(seconds),
            silent_seconds: one.silent.map(seconds),
            tokens: one.tokens,
            tokens_per_second: speed(one).map(|speed| (speed * 10.0).round() / 10.0),
        }
    }

    fn csv(&self) -> String {
        let some = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        csv::line([
            &*self.number.to_string(),
            &self.id,
            self.pool.as_deref().unwrap_or_default(),
            self.node.as_deref().unwrap_or_default(),
            self.class,
            self.state,
            &self.method,
            &self.path,
            &self.attempts.to_string(),
            &self.age_seconds.to_string(),
            &self.state_seconds.to_string(),
            &some(self.ttft_seconds),
            &some(self.silent_seconds),
            &self.tokens.to_string(),
            &some(self.tokens_per_second),
        ])
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// Tokens per second since the first byte, once there are two.
fn speed(one: &OpenRequest) -> Option<f64> {
    let time = one.age.saturating_sub(one.silent.unwrap_or_default()).saturating_sub(one.ttft?);
    (one.tokens > 1 && !time.is_zero()).then(|| f64::from(one.tokens - 1) / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Asked, Stage};

    fn open(number: u64, age: u64, tokens: u32) -> OpenRequest {
        OpenRequest {
            number,
            asked: Asked::new(&format!("id-{number}"), "POST", "/v1/completions"),
            stage: if tokens > 0 { Stage::Answering } else { Stage::Waiting },
            pool: Some("p".into()),
            node: None,
            class: if number.is_multiple_of(2) { Class::Batch } else { Class::Normal },
            attempts: u32::from(tokens > 0),
            age: Duration::from_secs(age),
            in_stage: Duration::from_secs(age / 2),
            is_resumed: false,
            ttft: (tokens > 0).then_some(Duration::from_secs(1)),
            silent: (tokens > 0).then_some(Duration::ZERO),
            tokens,
        }
    }

    fn query(pairs: &[(&str, &str)]) -> Result<Query, String> {
        Query::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn numbers(pairs: &[(&str, &str)]) -> (usize, Vec<u64>) {
        let list = vec![open(1, 10, 0), open(2, 30, 59), open(3, 20, 0), open(4, 20, 5)];
        let (total, rows) = rows(list, &query(pairs).expect("a query"));
        (total, rows.iter().map(|row| row.number).collect())
    }

    #[test]
    fn the_query_chooses_orders_and_cuts() {
        for (pairs, want) in [
            (&[][..], (4, vec![2, 3, 4, 1])),
            (&[("order", "asc")], (4, vec![1, 3, 4, 2])),
            (&[("sort", "tokens")], (4, vec![2, 4, 1, 3])),
            (&[("class", "batch")], (2, vec![2, 4])),
            (&[("state", "waiting")], (2, vec![3, 1])),
            (&[("pool", "p"), ("node", "")], (4, vec![2, 3, 4, 1])),
            (&[("pool", "q")], (0, vec![])),
            (&[("limit", "2"), ("offset", "1")], (4, vec![3, 4])),
            (&[("offset", "9")], (4, vec![])),
        ] {
            assert_eq!(numbers(pairs), want, "{pairs:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, value) in [
            ("class", "vip"),
            ("state", "STREAMING"),
            ("limit", "10001"),
            ("limit", "-1"),
            ("sort", "x"),
            ("order", "up"),
            ("format", "xml"),
            ("q", ""),
        ] {
            let why = query(&[(name, value)]).expect_err(name);
            assert!(why.contains(name), "{why}");
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let json: serde_json::Value =
            serde_json::from_str(&text(vec![open(2, 30, 59)], &Query::default())).expect("JSON");
        let row = json["requests"][0].as_object().expect("a row");
        assert_eq!(row.keys().map(String::as_str).collect::<Vec<_>>(), {
            let mut columns = COLUMNS;
            columns.sort_unstable();
            columns
        });
        assert_eq!(
            (row["tokens_per_second"].as_f64(), row["state"].as_str()),
            (Some(2.0), Some("streaming"))
        );
        let csv = text(vec![open(2, 30, 59)], &Query { format: Format::Csv, ..Query::default() });
        assert_eq!(
            csv.lines().nth(1),
            Some("2,id-2,p,,batch,streaming,POST,/v1/completions,1,30,15,1,0,59,2")
        );
    }
}
