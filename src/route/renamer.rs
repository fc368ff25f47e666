//! The model in an answer, under the name by which its client asked for it.
//!
//! Works piece by piece and holds nothing back: where the value of a `model` begins, the other name goes out, and what the node
//! says there is left out. All other bytes go on as they came.

use bytes::Bytes;

/// Longest name of a member that matters: `response`.
const NAME_MAX: usize = 8;

/// Renames the model in one answer after the other.
#[derive(Debug)]
pub struct Renamer {
    /// The name for the client, as JSON text.
    name: String,
    frames: Frames,
    /// Objects and arrays around the next byte.
    depth: u32,
    /// The second of them is an object that has a `model` of its own: Responses' `response`, or Anthropic's `message`.
    is_inner: bool,
    at: At,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    /// Not to be looked into.
    Opaque,
    /// One JSON value.
    Whole,
    /// JSON values a line each, with anything before them: events too.
    Lines,
}

/// The place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Between,
    /// In a text that says nothing here.
    Text,
    /// In a text that may be the name of a member: its bytes so far, and their number.
    Name([u8; NAME_MAX], usize),
    /// Behind one; `:` makes it a name.
    Named(Member),
    /// Before its value.
    Value(Member),
    /// In the value that is left out.
    Dropped,
    /// Behind a backslash in one of these.
    Escaped(Escaped),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaped {
    Text,
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Model,
    Inner,
}

impl Renamer {
    pub(super) fn new(name: &str) -> Self {
        let name = serde_json::Value::from(name).to_string();
        Self { name, frames: Frames::Opaque, depth: 0, is_inner: false, at: At::Between }
    }

    /// Another answer begins, with this media type and content coding.
    pub fn begin(&mut self, media_type: Option<&[u8]>, coding: Option<&[u8]>) {
        let is_readable = coding.is_none_or(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
        let media_type = media_type.filter(|_| is_readable).unwrap_or_default();
        let media_type = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii().to_ascii_lowercase();
        self.frames = match &media_type[..] {
            b"text/event-stream" | b"application/x-ndjson" | b"application/ndjson" | b"application/jsonl" => {
                Frames::Lines
            }
            b"application/json" => Frames::Whole,
            kind if kind.ends_with(b"+json") => Frames::Whole,
            _ => Frames::Opaque,
        };
        self.reset();
    }

    /// The length of the answer may change.
    pub fn changes(&self) -> bool {
        self.frames != Frames::Opaque
    }

    /// The answer is a stream of lines.
    pub fn is_in_lines(&self) -> bool {
        self.frames == Frames::Lines
    }

    fn reset(&mut self) {
        (self.depth, self.is_inner, self.at) = (0, false, At::Between);
    }

    /// The next bytes for the client.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.frames == Frames::Opaque {
            return chunk;
        }
        let mut out = Vec::new();
        // from here on nothing is in `out`; `None`: what comes is left out
        let mut from = (!self.drops()).then_some(0);
        let mut at = 0;
        while at < chunk.len() {
            at += self.skip(&chunk[at..]);
            let Some(byte) = chunk.get(at) else { break };
            self.step(*byte);
            match (from, self.drops()) {
                (Some(start), true) => {
                    out.extend_from_slice(&chunk[start..at]);
                    out.extend_from_slice(self.name.as_bytes());
                    from = None;
                }
                // a line's end is no part of the value
                (None, false) => from = Some(if *byte == b'"' { at + 1 } else { at }),
                (Some(_), false) | (None, true) => {}
            }
            at += 1;
        }
        match from {
            Some(0) => chunk,
            Some(from) => {
                out.extend_from_slice(&chunk[from..]);
                out.into()
            }
            None => out.into(),
        }
    }

    fn drops(&self) -> bool {
        matches!(self.at, At::Dropped | At::Escaped(Escaped::Dropped))
    }

    /// The number of bytes up to the next one that matters.
    fn skip(&self, rest: &[u8]) -> usize {
        let found = match self.at {
            At::Text | At::Dropped if self.frames == Frames::Lines => {
                memchr::memchr3(b'"', b'\\', b'\n', rest)
            }
            At::Text | At::Dropped => memchr::memchr2(b'"', b'\\', rest),
            At::Between => {
                rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b'\n'))
            }
            At::Name(..) | At::Named(_) | At::Value(_) | At::Escaped(_) => Some(0),
        };
        found.unwrap_or(rest.len())
    }

    fn step(&mut self, byte: u8) {
        if byte == b'\n' && self.frames == Frames::Lines {
            return self.reset();
        }
        self.at = match (self.at, byte) {
            (At::Between, b'"') if self.may_name() => At::Name([0; NAME_MAX], 0),
            (At::Between, b'"') => At::Text,
            (At::Between, _) => self.structure(byte, false),
            (At::Text, b'"') | (At::Dropped, b'"') => At::Between,
            (At::Text, b'\\') => At::Escaped(Escaped::Text),
            (At::Dropped, b'\\') => At::Escaped(Escaped::Dropped),
            (At::Escaped(Escaped::Text), _) => At::Text,
            (At::Escaped(Escaped::Dropped), _) => At::Dropped,
            (at @ (At::Text | At::Dropped), _) => at,
            (At::Name(name, length), b'"') => self.member(&name[..length]).map_or(At::Between, At::Named),
            // no engine escapes its own names
            (At::Name(..), b'\\') => At::Escaped(Escaped::Text),
            (At::Name(mut name, length), _) if length < NAME_MAX => {
                name[length] = byte;
                At::Name(name, length + 1)
            }
            (At::Name(..), _) => At::Text,
            (at @ (At::Named(_) | At::Value(_)), b' ' | b'\t' | b'\r' | b'\n') => at,
            (At::Named(member), b':') => At::Value(member),
            (At::Value(Member::Model), b'"') => At::Dropped,
            (At::Value(Member::Inner), b'"') => At::Text,
            (At::Value(member), _) => self.structure(byte, member == Member::Inner),
            (At::Named(_), b'"') => At::Text,
            (At::Named(_), _) => self.structure(byte, false),
        };
    }

    /// A text here may be the name of a member that matters.
    fn may_name(&self) -> bool {
        self.depth == 1 || self.depth == 2 && self.is_inner
    }

    fn member(&self, name: &[u8]) -> Option<Member> {
        match name {
            b"model" => Some(Member::Model),
            b"response" | b"message" if self.depth == 1 => Some(Member::Inner),
            _ => None,
        }
    }

    fn structure(&mut self, byte: u8, is_inner: bool) -> At {
        match byte {
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth == 2 {
                    self.is_inner = is_inner && byte == b'{';
                }
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        At::Between
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn renamed(media_type: &str, pieces: &[&[u8]]) -> String {
        let mut renamer = Renamer::new("a\"b");
        renamer.begin(Some(media_type.as_bytes()), None);
        let out: Vec<_> = pieces.iter().map(|piece| renamer.push(Bytes::copy_from_slice(piece))).collect();
        String::from_utf8(out.concat()).expect("text")
    }

    /// `@` stands for the model, and `~` for what looks like it and is none.
    const WHOLE: [&str; 11] = [
        r#"{"model":"@","usage":{"model":"~"}}"#,
        "{\n  \"id\" : \"x\",\r\n\t\"model\" :\n \"@\" ,\n \"choices\": [{\"model\": \"~\"}]\n}",
        r#"{"data":[[1,2],{"model":"~"}],"model":"@"}"#,
        r#"{"response":{"model":"@","output":[{"model":"~"}],"x":{"model":"~"}},"model":"@"}"#,
        r#"{"type":"message_start","message":{"id":"m","model":"@","usage":{}}}"#,
        r#"{"model":null,"message":"model","a":"model\":\"~\"","response":["model",{"model":"~"}]}"#,
        r#"{"param":"model","code":"model","x":{"response":{"model":"~"}}}"#,
        r#"{"models":"~","mode":"~","model_":"~","\u006dodel":"~"}"#,
        r#"["model","~",{"model":"~"}]"#,
        r#"{"content":"say \"model\":\"~\" \\","model":"@"}"#,
        r#"{"message":{"model":1},"model":{"model":"~"},"a":[{"b":"model"}]}"#,
    ];
    const EVENTS: &str = concat!(
        ": it's {a \"comment\n\n",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"@\"}}\n\n",
        "data: {\"model\":\"@\",\"choices\":[{\"delta\":{\"content\":\"\\\"model\\\":\\\"~\\\"\"}}]}\r\n\r\n",
        "data: {\"model\":\"cut\n\n",
        "data: {\"response\":{\"model\":\"@\"}}\n\n",
        "data: [DONE]\n\n"
    );

    /// Parts of bodies in no order.
    const PARTS: [&str; 15] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "\\",
        "model",
        "\"model\"",
        " ",
        "\n",
        "x",
        "\"response\":{",
        "data: ",
    ];

    fn node_and_client(text: &str) -> (String, String) {
        let said = text.replace('~', "x\\\\y").replace("{\"model\":\"cut", "{\"model\":\"cu");
        (
            said.replace('@', "x\\\"y\\\\"),
            said.replace("\"@\"", "\"a\\\"b\"").replace("\"cu\n", "\"a\\\"b\"\n"),
        )
    }

    #[test]
    fn only_the_model_changes() {
        for text in WHOLE {
            let (node, client) = node_and_client(text);
            assert_eq!(renamed("application/json; charset=utf-8", &[node.as_bytes()]), client);
        }
        let (node, client) = node_and_client(EVENTS);
        assert_eq!(renamed("Text/Event-Stream", &[node.as_bytes()]), client);
        let lines = "{\"model\":\"x\",\"done\":false}\n{\"model\":\"x\",\"done\":true}\n";
        assert_eq!(
            renamed("application/x-ndjson", &[lines.as_bytes()]),
            lines.replace("\"x\"", "\"a\\\"b\"")
        );
    }

    #[test]
    fn what_is_no_json_or_packed_goes_on_as_it_came() {
        let text = &br#"{"model":"x"}"#[..];
        assert_eq!(renamed("text/plain", &[text]).as_bytes(), text);
        let mut renamer = Renamer::new("a");
        renamer.begin(Some(b"application/json"), Some(b"gzip"));
        assert!(!renamer.changes());
        assert_eq!(renamer.push(Bytes::from_static(text)), text);
        renamer.begin(Some(b"application/json"), Some(b"identity"));
        assert_eq!(renamer.push(Bytes::from_static(text)), &br#"{"model":"a"}"#[..]);
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let mut renamer = Renamer::new("a");
        renamer.begin(Some(b"application/json"), None);
        let chunk = Bytes::from(br#"{"choices":[]}"#.to_vec());
        assert_eq!(renamer.push(chunk.clone()).as_ptr(), chunk.as_ptr());
    }

    proptest! {
        #[test]
        fn however_it_is_split(which in 0..=WHOLE.len(), cuts in prop::collection::vec(0_usize..400, 0..12)) {
            let (kind, text) = WHOLE.get(which).map_or(("text/event-stream", EVENTS), |text| ("application/json", *text));
            let (node, client) = node_and_client(text);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(node.len())).collect();
            cuts.extend([0, node.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &node.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(renamed(kind, &pieces), client);
        }

        #[test]
        fn any_bytes_are_survived(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..60), cut in 0_usize..400) {
            let bytes = parts.concat().into_bytes();
            let (start, rest) = bytes.split_at(cut.min(bytes.len()));
            for kind in ["application/json", "text/event-stream"] {
                let whole = renamed(kind, &[&bytes]);
                prop_assert_eq!(&renamed(kind, &[start, rest]), &whole);
                if memchr::memmem::find(&bytes, b"\"model\"").is_none() {
                    prop_assert_eq!(whole.as_bytes(), &bytes);
                }
            }
        }
    }
}
