//! The fields of a head, in their original order and spelling.

use std::fmt;

use bytes::Bytes;

use super::part::range_in;

/// A shared slice of the received bytes, with the places of names and values in it. Not a map: a head has
/// about ten fields, and most of them are only copied.
#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    places: Vec<Place>,
}

/// Offsets into the head, which is shorter than 4 GiB ([`super::HEAD_MAX`]).
#[derive(Clone, Copy)]
pub(crate) struct Place {
    name: (u32, u32),
    value: (u32, u32),
}

impl Place {
    /// Of `name` and `value`, which are parts of `head`; one that is not counts as empty.
    pub(crate) fn of(name: &[u8], value: &[u8], head: &[u8]) -> Self {
        let place = |part: &[u8]| {
            let range = range_in(head, part).unwrap_or_default();
            (range.start as u32, range.end as u32)
        };
        Self { name: place(name), value: place(value) }
    }
}

impl Fields {
    pub(crate) fn new(head: Bytes, places: Vec<Place>) -> Self {
        Self { head, places }
    }

    /// The same fields, for a head that was no text.
    pub(crate) fn of<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let (mut head, mut places) = (Vec::new(), Vec::new());
        let mut put = |part: &[u8]| {
            let start = head.len() as u32;
            head.extend_from_slice(part);
            (start, head.len() as u32)
        };
        for (name, value) in fields {
            places.push(Place { name: put(name), value: put(value) });
        }
        Self { head: head.into(), places }
    }

    /// The value of the first field with this name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.places.iter().map(|place| (self.slice(place.name), self.slice(place.value)))
    }

    /// Removes all fields with this name, and adds one with this value, if there is one.
    pub(crate) fn replace(&mut self, name: &str, value: Option<&str>) {
        let head = std::mem::take(&mut self.head);
        let is = |place: &Place| {
            head[place.name.0 as usize..place.name.1 as usize].eq_ignore_ascii_case(name.as_bytes())
        };
        self.places.retain(|place| !is(place));
        self.head = head;
        if let Some(value) = value {
            let start = self.head.len();
            let (named, end) = (start + name.len(), start + name.len() + value.len());
            self.head = [&self.head[..], name.as_bytes(), value.as_bytes()].concat().into();
            let place = |from: usize, to: usize| (from as u32, to as u32);
            self.places.push(Place { name: place(start, named), value: place(named, end) });
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The comma-separated lists of all fields with this name contain the token, in any case (RFC 9110
    /// section 5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).any(|list| has_token(list, token.as_bytes()))
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.head[start as usize..end as usize]
    }
}

/// Shows names only, because a value may be a credential.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// The items of a comma-separated list, without surrounding blanks.
pub(crate) fn items(list: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

pub(crate) fn has_token(list: &[u8], token: &[u8]) -> bool {
    items(list).any(|item| item.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::super::parse_response;
    use super::*;

    fn fields(lines: &str) -> Fields {
        let mut wire = Bytes::from(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
        parse_response(&mut wire).unwrap().unwrap().fields
    }

    #[test]
    fn a_field_is_replaced() {
        let mut fields = fields("Content-length: 7\r\nA: b\r\ncontent-length: 7\r\n");
        fields.replace("Content-Length", Some("12"));
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"A"[..], &b"b"[..]), (b"Content-Length", b"12")]);
        fields.replace("Content-Length", None);
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn fields_are_found_in_any_case_and_keep_their_order() {
        let fields = fields("B: 1\r\na:  2 \t\r\nb: 3\r\nEmpty:\r\n");
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [(&b"B"[..], &b"1"[..]), (b"a", b"2"), (b"b", b"3"), (b"Empty", b"")]);
        assert_eq!(fields.get("b"), Some(&b"1"[..]));
        assert_eq!(fields.get_all("B").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(
            (fields.get("A"), fields.get("empty"), fields.get("c")),
            (Some(&b"2"[..]), Some(&b""[..]), None)
        );
        assert_eq!((fields.contains("EMPTY"), fields.contains("emptyy"), fields.len()), (true, false, 4));
        assert!(!fields.is_empty() && super::Fields::default().is_empty());
    }

    #[test]
    fn a_token_is_found_in_the_lists_of_all_lines() {
        let fields = fields("Connection: x, Close\r\nConnection: ,\tkeep-alive\r\n");
        for (token, is_there) in
            [("close", true), ("Keep-Alive", true), ("x", true), ("clos", false), ("x,", false)]
        {
            assert_eq!(fields.has_token("connection", token), is_there, "{token}");
        }
        assert!(!fields.has_token("Upgrade", "close"));
    }

    #[test]
    fn values_are_not_shown() {
        let shown = format!("{:?}", fields("Authorization: Bearer secret\r\n"));
        assert_eq!(shown, "[\"Authorization\"]");
    }
}
