//! Classes of requests, and the fields by which a request says its class and its deadline.

use http::HeaderName;

/// The urgency of a request: of those that wait for a slot, one of the highest class goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A person waits for it.
    Interactive,
    #[default]
    Normal,
    /// One of many in a job.
    Batch,
}

impl Class {
    /// All classes, the highest first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Normal, Self::Batch];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
        }
    }

    /// Its place in [`Self::ALL`].
    pub fn place(self) -> usize {
        self as usize
    }
}

/// The words by which requests say their class.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// The field; default `X-Priority`. `None`: all requests have the default class.
    pub header: Option<HeaderName>,
    /// Further words beside the names of the classes, in lower case; at most 64, default `high` and `low`.
    pub values: Vec<(String, Class)>,
    /// The class of a request that says none, or a word that is not known; default [`Class::Normal`].
    pub default: Class,
}

impl Classes {
    /// The class of a request with this value of the field; letters of either case are the same.
    pub fn of(&self, value: Option<&[u8]>) -> Class {
        value.and_then(|value| self.said(value)).unwrap_or(self.default)
    }

    /// The class that a value of the field names, if it does.
    pub fn said(&self, value: &[u8]) -> Option<Class> {
        let value = value.trim_ascii();
        let is_said = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
        let own = || self.values.iter().find(|(word, _)| is_said(word)).map(|(_, class)| *class);
        let named = || Class::ALL.into_iter().find(|class| is_said(class.as_str()));
        own().or_else(named)
    }
}

/// The fields by which a request says until when it is of use. `None`: that one is not read.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadline {
    /// A duration from the request's arrival; default `X-Request-Timeout`.
    pub timeout: Option<HeaderName>,
    /// A point in time; default `X-Request-Deadline`.
    pub at: Option<HeaderName>,
    /// Milliseconds from the request's arrival; default none.
    pub millis: Option<HeaderName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_said_by_name_or_by_a_word_of_the_config() {
        let words = [("high", Class::Interactive), ("0", Class::Batch), ("normal", Class::Batch)];
        let values = words.map(|(word, class)| (word.to_owned(), class)).to_vec();
        let classes = Classes { header: None, values, default: Class::Normal };
        for (value, class) in [
            ("interactive", Class::Interactive),
            ("Batch", Class::Batch),
            (" HIGH ", Class::Interactive),
            ("0", Class::Batch),
            ("normal", Class::Batch),
            ("", Class::Normal),
            ("urgent", Class::Normal),
            ("high, low", Class::Normal),
            ("\u{e9}", Class::Normal),
        ] {
            assert_eq!(classes.of(Some(value.as_bytes())), class, "{value}");
        }
        assert_eq!(classes.of(None), Class::Normal);
    }
}
