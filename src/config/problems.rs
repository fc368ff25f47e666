//! Problems: collects everything that is wrong with a config file, and words it for people.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;

/// The most problems that are kept; the rest are only counted.
const PROBLEMS_MAX: usize = 100;

/// The shortest value of a variable that is concealed: a shorter one could be a part of any message.
const SECRET_BYTES_MIN: usize = 6;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path in the structure, `pools.vllm.nodes[1].weight`; empty: the file as a whole.
    pub path: String,
    /// The line in the text, counted from 1; `None`: no particular line.
    pub line: Option<usize>,
    /// The problem, and how to fix it.
    pub message: String,
}

/// All problems of one file, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file's name as the user gave it.
    pub source: String,
    /// Never empty; at most 100.
    pub list: Vec<Problem>,
    /// The number of problems that `list` omits.
    pub omitted: usize,
}

impl Problem {
    /// One line: `evenkeel.yaml:12: pools.vllm.nodes[1].weight: 0 is not a weight; ...`.
    fn write(&self, f: &mut impl fmt::Write, source: &str) -> fmt::Result {
        write!(f, "{source}:")?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Prints one line per problem.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.write(f, &self.source)?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\n{}: and {more} more", self.source),
        }
    }
}

impl Error for Problems {}

/// Gathers problems while the file is walked.
#[derive(Default)]
pub(super) struct Collector {
    list: RefCell<Vec<Problem>>,
    omitted: Cell<usize>,
    /// Notices on what is valid, and yet does less than one may expect.
    notices: RefCell<Vec<Problem>>,
    /// Names and values of variables that the file names: the values are not to be shown.
    concealed: RefCell<Vec<(String, String)>>,
    /// The keys that the schema asked for and the file does not have.
    #[cfg(test)]
    pub(super) absent: RefCell<Vec<String>>,
}

impl Collector {
    /// Adds a problem. `line` 0: no particular line.
    pub(super) fn add(&self, path: &str, line: usize, message: impl Into<String>) {
        let mut list = self.list.borrow_mut();
        if list.len() == PROBLEMS_MAX {
            self.omitted.set(self.omitted.get() + 1);
            return;
        }
        let line = Some(line).filter(|line| *line > 0);
        list.push(Problem { path: path.to_owned(), line, message: message.into() });
    }

    /// Adds a notice, which makes no file invalid.
    pub(super) fn note(&self, path: &str, line: usize, message: impl Into<String>) {
        let line = Some(line).filter(|line| *line > 0);
        self.notices.borrow_mut().push(Problem { path: path.to_owned(), line, message: message.into() });
    }

    /// The notices, by line, each as one line of text.
    pub(super) fn notices(&self, source: &str) -> Vec<String> {
        let mut notices = self.notices.borrow_mut();
        notices.sort_by_key(|notice| notice.line);
        let shown = notices.iter().map(|notice| {
            let mut text = String::new();
            let _ = notice.write(&mut text, source);
            text
        });
        shown.collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Shows these variables by their names wherever a message has their values.
    pub(super) fn conceal(&self, variables: Vec<(String, String)>) {
        let secrets = variables.into_iter().filter(|(_, value)| value.len() >= SECRET_BYTES_MIN);
        self.concealed.borrow_mut().extend(secrets);
    }

    /// The value, if there are no problems.
    pub(super) fn finish<T>(self, value: Option<T>, source: &str) -> Result<T, Problems> {
        let mut list = self.list.into_inner();
        match value {
            Some(value) if list.is_empty() => Ok(value),
            _ => {
                let concealed = self.concealed.into_inner();
                for (name, value) in concealed {
                    let name = format!("${{{name}}}");
                    list.iter_mut()
                        .for_each(|problem| problem.message = problem.message.replace(&value, &name));
                }
                list.sort_by_key(|problem| problem.line);
                Err(Problems { source: source.to_owned(), list, omitted: self.omitted.get() })
            }
        }
    }
}

/// Text from the file in a form that a message may show: short, on one line, without control characters.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let mut shown: String = text.chars().take(chars_max).flat_map(visible).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push_str("...");
    }
    shown
}

fn visible(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let kept = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(kept)
}
