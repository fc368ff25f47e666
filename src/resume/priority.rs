//! The class of a request, told to engines that order by themselves: the member `priority` of its body.
//!
//! vLLM (0.32) serves lower numbers first, has 0 where none is named, and refuses any other unless it was started with
//! `--scheduling-policy priority`. SGLang (0.5.23) serves higher ones first, with `--schedule-low-priority-values-first` lower ones,
//! puts requests without a number last, and reads them only with `--enable-priority-scheduling`; there a request that is more than
//! 10 above a running one takes its place.

use bytes::Bytes;
use memchr::memmem;

use super::ask::NodeBody;
use crate::classify::members::{all_members, length, without_mark};
use crate::config::{Class, Engine, PassPriority, Pool};
use crate::http1::range_in;

const NAME: &str = "priority";

/// The number that a node is to get with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    number: Number,
    /// The engine takes this one where none is named.
    is_default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Low,
    Middle,
    High,
}

impl Number {
    fn text(self) -> &'static str {
        match self {
            Self::Low => "-10",
            Self::Middle => "0",
            Self::High => "10",
        }
    }

    /// The ends of a body: with nothing else that is added, and with each wish for resumable streams.
    fn tails(self) -> [&'static [u8]; 3] {
        macro_rules! tails {
            ($number:literal) => {
                [
                    concat!(",\"priority\":", $number, "}").as_bytes(),
                    concat!(",\"priority\":", $number, ",\"return_token_ids\":true}").as_bytes(),
                    concat!(
                        ",\"priority\":",
                        $number,
                        ",\"stream_options\":{\"continuous_usage_stats\":true}}"
                    )
                    .as_bytes(),
                ]
            };
        }
        match self {
            Self::Low => tails!("-10"),
            Self::Middle => tails!("0"),
            Self::High => tails!("10"),
        }
    }
}

impl Priority {
    /// For a request of this class to this pool. `path`: as nodes get it, without its query.
    pub fn of(pool: &Pool, class: Class, path: &str) -> Option<Self> {
        let engine = pool.engine;
        let is_low_first = match pool.queue.pass_priority {
            PassPriority::Off => return None,
            PassPriority::On => engine == Engine::Vllm,
            PassPriority::LowFirst => true,
            PassPriority::HighFirst => false,
        };
        let number = match (class, is_low_first) {
            (Class::Normal, _) => Number::Middle,
            (Class::Interactive, true) | (Class::Batch, false) => Number::Low,
            (Class::Interactive, false) | (Class::Batch, true) => Number::High,
        };
        let is_default = number == Number::Middle && engine == Engine::Vllm;
        is_read(engine, path).then_some(Self { number, is_default })
    }

    /// A body that names no number, with this one behind all else; every other byte stays.
    pub fn add_to(self, body: NodeBody) -> NodeBody {
        let start = if body.tail.is_empty() {
            memchr::memrchr(b'}', &body.start).map(|end| body.start.slice(..end))
        } else {
            Some(body.start.clone())
        };
        let has_members = |start: &Bytes| {
            without_mark(start).trim_ascii_start().starts_with(b"{")
                && !start.trim_ascii_end().ends_with(b"{")
        };
        // those with a wish are longer
        let tail = self.number.tails().into_iter().find(|tail| tail.ends_with(unopened(body.tail)));
        match (start.filter(has_members), tail) {
            (Some(start), Some(tail)) if !self.is_default => NodeBody { start, tail },
            _ => body,
        }
    }

    /// A client's body with the number in place of its own, if it names one. As in Python, the last one counts.
    pub fn replaced(self, body: &Bytes) -> Option<Bytes> {
        if memmem::find(body, b"\"priority\"").is_none() && !has_escaped_letter(body) {
            return None;
        }
        let (_, value) = all_members(body).filter(|(name, _)| is_named(name)).last()?;
        let start = range_in(body, value)?.start;
        let end = start + length(&body[start..])?;
        Some([&body[..start], self.number.text().as_bytes(), &body[end..]].concat().into())
    }
}

/// A tail, or the end of the object that stands for none.
fn unopened(tail: &'static [u8]) -> &'static [u8] {
    if tail.is_empty() { b"}" } else { tail }
}

/// A letter of the name may be written as an escape: nobody does that who means well.
fn has_escaped_letter(body: &[u8]) -> bool {
    let start: &[u8] = br"\u00";
    memmem::find_iter(body, start).any(|at| matches!(body.get(at + start.len()), Some(b'6' | b'7')))
}

/// `name`: as it is written, without its quotes.
fn is_named(name: &[u8]) -> bool {
    const LONGEST: usize = NAME.len() * r"\u0000".len();
    if name.len() > LONGEST || !name.contains(&b'\\') {
        return name == NAME.as_bytes();
    }
    serde_json::from_slice::<String>(&[b"\"", name, b"\""].concat()).is_ok_and(|name| name == NAME)
}

/// The API knows the member.
fn is_read(engine: Engine, path: &str) -> bool {
    const ENDINGS: [&str; 4] = ["/completions", "/responses", "/embeddings", "/generate"];
    let ending = ENDINGS.iter().find(|ending| path.trim_end_matches('/').ends_with(*ending));
    ending.is_some_and(|ending| *ending != "/generate" || engine == Engine::Sglang)
}

#[cfg(test)]
mod tests {
    use super::super::ask::{IDS, USAGE};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const HIGH: Priority = Priority { number: Number::High, is_default: false };

    /// `tail`: a wish that is added beside.
    fn added(priority: Priority, body: &str, tail: &'static [u8]) -> String {
        let whole = Bytes::copy_from_slice(body.as_bytes());
        let with_wish = |whole: &Bytes| match memchr::memrchr(b'}', whole) {
            Some(end) if !tail.is_empty() => NodeBody { start: whole.slice(..end), tail },
            _ => NodeBody::as_it_came(whole.clone()),
        };
        let body = match priority.replaced(&whole) {
            Some(replaced) => with_wish(&replaced),
            None => priority.add_to(with_wish(&whole)),
        };
        String::from_utf8([&body.start[..], body.tail].concat()).unwrap()
    }

    #[test]
    fn one_member_is_added_or_replaced() {
        for (start, tail, want) in [
            (r#"{"a":1}"#, &b""[..], r#"{"a":1,"priority":10}"#),
            ("{\"a\": {} }\n", b"", r#"{"a": {} ,"priority":10}"#),
            (r#"{"a":1}"#, IDS, r#"{"a":1,"priority":10,"return_token_ids":true}"#),
            (
                r#"{"a":1}"#,
                USAGE,
                r#"{"a":1,"priority":10,"stream_options":{"continuous_usage_stats":true}}"#,
            ),
            (r#"{"priority": -3 ,"a":1}"#, b"", r#"{"priority": 10 ,"a":1}"#),
            (r#"{"priority":1,"priority":[2,3],"a":1}"#, b"", r#"{"priority":1,"priority":10,"a":1}"#),
            (r#"{"priorit\u0079":-99,"a":"\u00e9"}"#, b"", r#"{"priorit\u0079":10,"a":"\u00e9"}"#),
            (r#"{"priority":1,"\u0070riorit\u0079":-99}"#, b"", r#"{"priority":1,"\u0070riorit\u0079":10}"#),
            (
                r#"{"a":"\u0079","\\u0070riority":-99}"#,
                b"",
                r#"{"a":"\u0079","\\u0070riority":-99,"priority":10}"#,
            ),
            ("\u{feff}{\"priority\":1}", b"", "\u{feff}{\"priority\":10}"),
            ("\u{feff}{\"a\":1}", b"", "\u{feff}{\"a\":1,\"priority\":10}"),
            (r#"{"priority":null}"#, IDS, r#"{"priority":10,"return_token_ids":true}"#),
            (
                r#"{"a":{"priority":1},"b":"\"priority\":2"}"#,
                b"",
                r#"{"a":{"priority":1},"b":"\"priority\":2","priority":10}"#,
            ),
            ("{}", b"", "{}"),
            ("{ }", b"", "{ }"),
            ("[{}]", b"", "[{}]"),
            ("", b"", ""),
            ("\u{1f}\u{8b}", b"", "\u{1f}\u{8b}"),
        ] {
            assert_eq!(added(HIGH, start, tail), want, "{start}");
        }
        let usual = Priority { number: Number::Middle, is_default: true };
        assert_eq!(added(usual, r#"{"a":1}"#, b""), r#"{"a":1}"#, "it is the engine's own");
        assert_eq!(added(usual, r#"{"a":1}"#, IDS), r#"{"a":1,"return_token_ids":true}"#);
        assert_eq!(added(usual, r#"{"priority":-5,"a":1}"#, b""), r#"{"priority":0,"a":1}"#);
        assert_eq!(added(usual, r#"{"priorit\u0079":-5,"a":1}"#, b""), r#"{"priorit\u0079":0,"a":1}"#);
    }

    #[test]
    fn each_engine_gets_the_number_that_it_understands() {
        let yaml = |engine: &str, pass: &str| {
            format!(
                "server: {{ listen: 127.0.0.1:1 }}\npools: {{ p: {{ engine: {engine}, nodes: [n:1], \
                 queue: {{ pass_priority: {pass} }} }} }}"
            )
        };
        for (engine, pass, want) in [
            ("vllm", "on", [Some("-10"), Some("0"), Some("10")]),
            ("sglang", "on", [Some("10"), Some("0"), Some("-10")]),
            ("sglang", "low_first", [Some("-10"), Some("0"), Some("10")]),
            ("vllm", "off", [None; 3]),
        ] {
            let config = crate::config::Config::parse(&yaml(engine, pass), "a.yaml").unwrap();
            let of = |class| Priority::of(&config.pools[0], class, "/v1/chat/completions");
            assert_eq!(Class::ALL.map(|class| of(class).map(|p| p.number.text())), want, "{engine} {pass}");
            assert_eq!(Priority::of(&config.pools[0], Class::Batch, "/v1/messages"), None);
            let native = Priority::of(&config.pools[0], Class::Batch, "/generate");
            assert_eq!(native.is_some(), engine == "sglang");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_changes(
            names in proptest::collection::btree_map("[a-z}]{1,4}|priority", ".{0,5}", 1..5),
            tail in prop_oneof![Just(&b""[..]), Just(IDS), Just(USAGE)],
        ) {
            let body = json!(names).to_string();
            let with_wish = if tail.is_empty() { body.clone() } else {
                format!("{}{}", &body[..body.len() - 1], std::str::from_utf8(tail).unwrap())
            };
            let mut want: Value = serde_json::from_str(&with_wish).unwrap();
            want["priority"] = json!(10);
            let got: Value = serde_json::from_str(&added(HIGH, &body, tail)).unwrap();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn any_bytes_will_do(body in proptest::collection::vec(any::<u8>(), 0..40)) {
            let body = Bytes::from(body);
            let _ = (HIGH.replaced(&body), HIGH.add_to(NodeBody::as_it_came(body)));
        }
    }
}
