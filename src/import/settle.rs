//! The last step of an import: what the config's own schema refuses is taken out again, with a note that says so.

use std::fmt;

use super::draft::{Draft, Item, Mapping, Value};
use super::note::{Kind, Note, Origin, Place, grouped, plain, plain_all};
use super::yaml::{Path, Rendered};
use crate::config::{Problem, Problems};

/// Most rounds of taking out: a pool that has lost its nodes is found in the round after.
const ROUNDS_MAX: usize = 32;
/// The width that comments are broken at.
const WIDTH: usize = 120;

/// Judges a text as `evenkeel check` does.
pub type Check<'a> = &'a dyn Fn(&str) -> Result<(), Problems>;

/// A config that passes the check, and the notes on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// The notes are at its head, as comments.
    pub yaml: String,
    pub notes: Vec<Note>,
}

/// The reason that there is no config.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub place: Option<Place>,
    pub message: String,
    /// The notes until then, which may tell more.
    pub notes: Vec<Note>,
}

impl Refusal {
    pub fn new(place: Option<Place>, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), notes: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Writes the draft down. `title`: the first line of the text.
pub fn settle(mut draft: Draft, title: &str, check: Check) -> Result<Import, Refusal> {
    let mut rendered = Rendered::of(&draft.root);
    for _ in 0..ROUNDS_MAX {
        match check(&rendered.text()) {
            Ok(()) => {
                let yaml = head(title, &draft.notes) + &rendered.text();
                // comments alone have been added
                return match check(&yaml) {
                    Ok(()) => Ok(Import { yaml, notes: draft.notes }),
                    Err(problems) => Err(refusal(draft, &problems)),
                };
            }
            Err(problems) => {
                if !take_out(&mut draft, &rendered, &problems.list) {
                    return Err(refusal(draft, &problems));
                }
                rendered = Rendered::of(&draft.root);
            }
        }
    }
    Err(Refusal { notes: draft.notes, ..Refusal::new(None, "no valid config could be made of it") })
}

fn refusal(draft: Draft, problems: &Problems) -> Refusal {
    let told = problems.list.first().map_or(String::new(), |problem| {
        if problem.path.is_empty() {
            problem.message.clone()
        } else {
            format!("{}: {}", problem.path, problem.message)
        }
    });
    let message = format!("no valid config can be made of it: {}", plain(&told));
    Refusal { place: None, message, notes: draft.notes }
}

/// Takes out all entries that have a problem. `false`: there is none that could be.
fn take_out(draft: &mut Draft, rendered: &Rendered, problems: &[Problem]) -> bool {
    let mut taken: Vec<(Path, &Problem)> = Vec::new();
    for problem in problems {
        let Some(path) = problem.line.and_then(|line| rendered.path(line)) else { continue };
        if !taken.iter().any(|(other, _)| path.starts_with(other)) {
            taken.push((path.clone(), problem));
        }
    }
    // from the end on, so that the places of the others stay
    taken.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut done = false;
    for (path, problem) in taken {
        if let Some(origin) = remove(&mut draft.root, &path) {
            done = true;
            // one without an origin is a part of ours, such as a pool whose nodes have gone
            if let Some(origin) = origin {
                let reason = format!("Evenkeel refuses it as {}: {}", problem.path, problem.message);
                draft.note(Kind::Left, Some(origin.place), &origin.words, &reason, "");
            }
        }
    }
    done
}

/// Removes an entry or item, and those around it that have nothing else; its origin. `None`: there is no such entry.
fn remove(mapping: &mut Mapping, path: &[usize]) -> Option<Option<Origin>> {
    let (first, rest) = path.split_first()?;
    let entry = mapping.entries.get_mut(*first)?;
    let (origin, is_empty) = match (rest, &mut entry.value) {
        ([], _) => (entry.origin.clone(), true),
        (rest, Value::Mapping(inner)) => (remove(inner, rest)?, inner.is_empty()),
        (rest, Value::List(items)) => (remove_item(items, rest)?, items.is_empty()),
        _ => return None,
    };
    if is_empty {
        mapping.entries.remove(*first);
    }
    Some(origin)
}

fn remove_item(items: &mut Vec<Item>, path: &[usize]) -> Option<Option<Origin>> {
    let (first, rest) = path.split_first()?;
    let item = items.get_mut(*first)?;
    let (origin, is_empty) = match (rest, &mut item.value) {
        ([], value) => (item.origin.clone().or_else(|| first_origin(value)), true),
        (rest, Value::Mapping(inner)) => (remove(inner, rest)?, inner.is_empty()),
        _ => return None,
    };
    if is_empty {
        items.remove(*first);
    }
    Some(origin)
}

fn first_origin(value: &Value) -> Option<Origin> {
    match value {
        Value::Mapping(mapping) | Value::Inline(mapping) => {
            mapping.entries.iter().find_map(|entry| entry.origin.clone())
        }
        Value::Word(_) | Value::Text(_) | Value::Row(_) | Value::List(_) | Value::Remark => None,
    }
}

/// The title and the notes, as comments.
fn head(title: &str, notes: &[Note]) -> String {
    let mut text = format!("# {}\n", plain_all(title));
    let mut last = None;
    for (kind, places, told) in grouped(notes) {
        if last != Some(kind) {
            text += &format!("#\n# {}\n", kind.heading());
            last = Some(kind);
        }
        let line = if places.is_empty() { told } else { format!("{places}: {told}") };
        broken(&line).iter().for_each(|line| text += &format!("{line}\n"));
    }
    text + "\n"
}

/// A note as lines of a comment.
fn broken(note: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::from("#   -");
    for word in note.split(' ').filter(|word| !word.is_empty()) {
        if line.len() + 1 + word.len() > WIDTH && line.len() > "#     ".len() {
            lines.push(std::mem::replace(&mut line, String::from("#    ")));
        }
        line.push(' ');
        line += word;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn origin(line: usize) -> Origin {
        Origin::new(Place::new(&"a.conf".into(), line), &format!("words {line}"))
    }

    fn node(address: &str, weight: &str, line: usize) -> Item {
        let mut node = Mapping::default();
        node.text("address", address, Some(&origin(line)));
        node.word("weight", weight, Some(&origin(line + 100)));
        Item { value: node.into(), origin: None }
    }

    fn draft(pools: Vec<(&str, Vec<Item>)>) -> Draft {
        let mut draft = Draft::default();
        draft.root.section("server", |server| server.text("listen", "0.0.0.0:9999", Some(&origin(1))));
        draft.root.section("pools", |all| {
            for (name, nodes) in pools {
                let mut pool = Mapping::default();
                pool.set("models", Value::Row(vec![Value::Text(name.to_owned())]), None);
                pool.set("nodes", Value::List(nodes), None);
                all.set(name, pool.into(), Some(&origin(50)));
            }
        });
        draft
    }

    fn settled(draft: Draft) -> Result<Import, Refusal> {
        settle(draft, "title", &|text| Config::parse(text, "a.yaml").map(|_| ()))
    }

    #[test]
    fn refused_entries_are_taken_out_with_a_note_and_so_is_a_pool_that_has_nothing_left() {
        let nodes = vec![node("a:1", "7", 2), node("no address", "1", 3), node("c:1", "0", 4)];
        let other = vec![node("-", "1", 5)];
        let import = settled(draft(vec![("main", nodes), ("gone", other)])).expect("a config");
        assert_eq!(
            import.yaml.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n"),
            "
server:
  listen: 0.0.0.0:9999                  # a.conf:1: words 1
pools:
  main:                                 # a.conf:50: words 50
    models: [main]
    nodes:
      - address: a:1                    # a.conf:2: words 2
        weight: 7                       # a.conf:102: words 102
      - address: c:1                    # a.conf:4: words 4"
        );
        let lines: Vec<_> = import.notes.iter().filter_map(|note| Some(note.place.as_ref()?.line)).collect();
        assert_eq!(lines, [5, 104, 3, 50]);
        assert!(import.notes[2].reason.contains("pools.main.nodes[1]"), "{:?}", import.notes);
        assert!(
            import.yaml.starts_with("# title\n#\n# Not translated:\n#   - a.conf:5: words 5: "),
            "{}",
            import.yaml
        );
    }

    #[test]
    fn without_a_node_there_is_no_config() {
        let refusal = settled(draft(vec![("gone", vec![node("-", "1", 5)])])).expect_err("no config");
        assert!(refusal.message.contains("pools"), "{refusal}");
        assert_eq!(refusal.notes.len(), 2);
    }

    #[test]
    fn long_notes_are_broken() {
        let lines = broken(&"word ".repeat(60));
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() <= WIDTH) && lines[1].starts_with("#     word"));
    }
}
