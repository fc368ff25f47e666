//! Changes to an event in place: what is not named keeps its bytes.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::scan::Member;

/// Places and what stands there instead.
#[derive(Debug, Default)]
pub(super) struct Edits<'a>(Vec<(Range<usize>, Cow<'a, str>)>);

impl<'a> Edits<'a> {
    pub(super) fn replace(&mut self, place: Range<usize>, with: impl Into<Cow<'a, str>>) {
        self.0.push((place, with.into()));
    }

    /// Inserts a member at the beginning of an object that has others.
    pub(super) fn insert(&mut self, start: usize, name: &str, value: &str) {
        self.replace(start..start, format!("\"{name}\":{value},"));
    }

    /// Removes a member, with the comma before it; the first with the one behind it.
    pub(super) fn remove(&mut self, event: &[u8], member: &Member) {
        let Range { mut start, mut end } = member.whole;
        let before = event[..start].trim_ascii_end();
        if before.ends_with(b",") {
            start = before.len() - 1;
        } else {
            let after = event[end..].trim_ascii_start();
            if after.starts_with(b",") {
                end = event.len() - after.len() + 1;
            }
        }
        self.replace(start..end, "");
    }

    /// The event with all changes.
    pub(super) fn apply(mut self, event: Bytes) -> Bytes {
        if self.0.is_empty() {
            return event;
        }
        self.0.sort_by_key(|(place, _)| place.start);
        let more: usize = self.0.iter().map(|(_, with)| with.len()).sum();
        let mut changed = Vec::with_capacity(event.len() + more);
        let mut at = 0;
        for (place, with) in &self.0 {
            changed.extend_from_slice(&event[at..place.start.max(at)]);
            changed.extend_from_slice(with.as_bytes());
            at = place.end.max(at);
        }
        changed.extend_from_slice(&event[at..]);
        changed.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::members;
    use super::*;

    const EVENT: &str = r#"data: {"a":1, "b":"x","c":[2]}"#;

    fn member(name: &str) -> Member {
        let mut found = None;
        members(EVENT.as_bytes(), 6, |other, begin| {
            let member = begin.member(EVENT.as_bytes())?;
            let end = member.value.end;
            found = found.take().or((other == name.as_bytes()).then_some(member));
            Some(end)
        });
        found.unwrap()
    }

    fn edited(edit: impl FnOnce(&mut Edits)) -> String {
        let mut edits = Edits::default();
        edit(&mut edits);
        String::from_utf8(edits.apply(Bytes::from_static(EVENT.as_bytes())).to_vec()).unwrap()
    }

    #[test]
    fn what_is_not_named_keeps_its_bytes() {
        assert_eq!(edited(|_| {}), EVENT);
        let both = edited(|edits| {
            edits.replace(member("c").value, "null");
            edits.replace(member("a").value, "7");
        });
        assert_eq!(both, r#"data: {"a":7, "b":"x","c":null}"#);
        assert_eq!(edited(|edits| edits.insert(7, "z", "0")), r#"data: {"z":0,"a":1, "b":"x","c":[2]}"#);
    }

    #[test]
    fn a_member_is_removed_with_its_comma() {
        let without = |name: &str| edited(|edits| edits.remove(EVENT.as_bytes(), &member(name)));
        assert_eq!(without("a"), r#"data: { "b":"x","c":[2]}"#);
        assert_eq!(without("b"), r#"data: {"a":1,"c":[2]}"#);
        assert_eq!(without("c"), r#"data: {"a":1, "b":"x"}"#);
        let rest =
            edited(|edits| ["b", "c"].iter().for_each(|name| edits.remove(EVENT.as_bytes(), &member(name))));
        assert_eq!(rest, r#"data: {"a":1}"#);
    }
}
