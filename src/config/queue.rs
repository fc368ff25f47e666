//! The schema of `queue` and `deadline`: the order of waiting requests, and the time that they have.

use std::time::Duration;

use http::HeaderName;

use super::class::{Class, Classes, Deadline};
use super::model::{Engine, PassPriority, Queue, Shares};
use super::nodes::IN_FLIGHT_MAX;
use super::raw::{Raw, Value};
use super::section::{Place, Section};
use super::values::{choice, count, duration_or_zero, header_name, integer, or_word, shown};

const PASS_PRIORITY: [(&str, PassPriority); 4] = [
    ("off", PassPriority::Off),
    ("on", PassPriority::On),
    ("low_first", PassPriority::LowFirst),
    ("high_first", PassPriority::HighFirst),
];
const WORDS_MAX: usize = 64;
const WORD_BYTES_MAX: usize = 64;
/// The most of all grants that the lower classes may be sure of.
const SHARES_MAX: f64 = 0.9;

pub(super) fn queue(s: &mut Section, engine: Engine) -> Queue {
    let pass_priority = s.get("pass_priority", PassPriority::Off, pass_priority);
    let orders = matches!(engine, Engine::Vllm | Engine::Sglang);
    s.rule("pass_priority", &[], orders || pass_priority == PassPriority::Off, || {
        "needs `engine: vllm` or `engine: sglang`: no other is known to read `priority`".to_owned()
    });
    Queue {
        size: s.get("size", 4096, integer(0..=IN_FLIGHT_MAX)),
        timeout: s.get("timeout", Duration::from_secs(600), duration_or_zero),
        class: s.section("class", classes),
        shares: s.section("shares", shares),
        reserve: s.get("reserve", 0.0, percent(0.0, 0.9)),
        pass_priority,
    }
}

fn pass_priority(raw: &Raw) -> Result<PassPriority, String> {
    if raw.value == Value::Bool(true) { Ok(PassPriority::On) } else { choice(&PASS_PRIORITY)(raw) }
}

fn class(raw: &Raw) -> Result<Class, String> {
    choice(&Class::ALL.map(|class| (class.as_str(), class)))(raw)
}

fn classes(s: &mut Section) -> Classes {
    let header = HeaderName::from_static("x-priority");
    Classes {
        header: s.get("header", Some(header), or_word("off", header_name)),
        values: s.take("values").map_or_else(usual_words, |place| words(&place)),
        default: s.get("default", Class::Normal, class),
    }
}

fn usual_words() -> Vec<(String, Class)> {
    vec![("high".to_owned(), Class::Interactive), ("low".to_owned(), Class::Batch)]
}

/// The config's own words, each with its class.
fn words(place: &Place) -> Vec<(String, Class)> {
    let Some(named) = place.section().map(Section::named) else { return Vec::new() };
    if let Err(message) = count(named.len(), &(0..=WORDS_MAX), "words") {
        place.problem(message);
    }
    let mut words: Vec<(String, Class)> = Vec::new();
    for (word, place) in named.into_iter().take(WORDS_MAX) {
        let is_word =
            (1..=WORD_BYTES_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic());
        let word = word.to_ascii_lowercase();
        if !is_word {
            place.problem(format!("is not a word; use 1 to {WORD_BYTES_MAX} visible ASCII characters"));
        } else if words.iter().any(|(other, _)| *other == word) {
            place.problem("appears twice: letters of either case are the same");
        }
        words.extend(place.read(class).map(|class| (word, class)));
    }
    words
}

fn shares(s: &mut Section) -> Shares {
    let normal = s.get("normal", 0.1, percent(0.01, 0.5));
    let batch = s.get("batch", 0.1, percent(0.01, 0.5));
    s.rule("batch", &["normal"], normal + batch <= SHARES_MAX, || {
        "and `normal` are more than 90% together, and leave too little to interactive".to_owned()
    });
    Shares { normal, batch }
}

/// A part of a whole, from 0 to 1; `0` and `off` are 0%.
fn percent(least: f64, most: f64) -> impl Fn(&Raw) -> Result<f64, String> {
    move |raw| {
        let number = match &raw.value {
            Value::Integer(0) | Value::Bool(false) => Some(0.0),
            Value::Text(text) if text == "off" => Some(0.0),
            Value::Text(text) => text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()),
            _ => None,
        };
        let wanted = || {
            let (least, most) = (least * 100.0, most * 100.0);
            format!("{} is not a percentage from {least}% to {most}%, such as 10%", shown(raw))
        };
        number.map(|number| number / 100.0).filter(|part| (least..=most).contains(part)).ok_or_else(wanted)
    }
}

pub(super) fn deadline(s: &mut Section) -> Deadline {
    let usual = |name| Some(HeaderName::from_static(name));
    Deadline {
        timeout: s.get("timeout", usual("x-request-timeout"), or_word("off", header_name)),
        at: s.get("at", usual("x-request-deadline"), or_word("off", header_name)),
        millis: s.get("millis", None, or_word("off", header_name)),
    }
}
