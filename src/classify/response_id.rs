//! The id of a response of OpenAI's Responses API, read from the beginning of its answer.

use super::members::members;

/// So much of an answer is searched, in bytes. The engines' first event repeats the request's instructions and tools.
const START_MAX: usize = 64 * 1024;

/// The search in one answer, a JSON object or a stream of events: its `id`, or that of the first event's `response`.
#[derive(Debug, Default)]
pub struct ResponseId {
    /// The answer so far, where its first piece was not enough.
    start: Vec<u8>,
}

/// The result of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// More of the answer is needed.
    NotYet,
    Id(String),
    None,
}

impl ResponseId {
    /// Looks at the next bytes, however they were split.
    pub fn look(&mut self, chunk: &[u8]) -> Found {
        let room = START_MAX - self.start.len();
        let chunk = &chunk[..chunk.len().min(room)];
        let found = if self.start.is_empty() {
            search(chunk)
        } else {
            self.start.extend_from_slice(chunk);
            search(&self.start)
        };
        if found == Found::NotYet && chunk.len() == room {
            return Found::None;
        }
        if found == Found::NotYet && self.start.is_empty() {
            self.start = chunk.to_vec();
        }
        found
    }
}

fn search(start: &[u8]) -> Found {
    let id = match start.trim_ascii_start().first() {
        None => return Found::NotYet,
        Some(b'{') => members(start, "id").next(),
        // `data:`, `event:`, `id:`, `retry:` or a comment
        Some(b'd' | b'e' | b'i' | b'r' | b':') => {
            let mut lines = start.split_inclusive(|byte| matches!(byte, b'\n' | b'\r'));
            let Some((data, line)) = lines.find_map(|line| Some((line.strip_prefix(b"data:")?, line))) else {
                return Found::NotYet;
            };
            let id = members(data, "response").find_map(|response| members(response, "id").next());
            if id.is_none() && line.ends_with(b"\n") | line.ends_with(b"\r") {
                return Found::None;
            }
            id
        }
        // nothing that could be read
        Some(_) => return Found::None,
    };
    match id.map(serde_json::from_slice) {
        None => Found::NotYet,
        Some(Ok(id)) => Found::Id(id),
        Some(Err(_)) => Found::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// vLLM 0.32, shortened.
    const EVENTS: &str = "event: response.created\n\
        data: {\"response\":{\"output\":[],\"id\":\"resp_a2\",\"tools\":[{\"id\":\"no\"}]},\"sequence_number\":0,\"type\":\"response.created\"}\n\n\
        event: response.in_progress\ndata: {\"response\":{\"id\":\"no\"}}\n\n";

    fn found(pieces: &[&str]) -> Found {
        let mut id = ResponseId::default();
        pieces
            .iter()
            .map(|piece| id.look(piece.as_bytes()))
            .find(|found| *found != Found::NotYet)
            .unwrap_or(Found::NotYet)
    }

    #[test]
    fn the_id_of_an_answer() {
        let id = |id: &str| Found::Id(id.to_owned());
        let long = format!("{{\"a\":\"{}\",\"id\":\"far\"}}", "x".repeat(START_MAX));
        let table = [
            (r#"{"id":"resp_1","output":[{"id":"no"}]}"#, id("resp_1")),
            (r#" {"output":[{"id":"no"}],"id":"resp_1"}"#, id("resp_1")),
            (EVENTS, id("resp_a2")),
            (
                ": ping\n\nid: 7\nretry: 1\ndata:{\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}",
                id("r"),
            ),
            (
                "data: {\"type\":\"error\",\"message\":\"x\"}\n\ndata: {\"response\":{\"id\":\"no\"}}\n\n",
                Found::None,
            ),
            (r#"{"error":{"id":"no"}}"#, Found::NotYet),
            (r#"{"id":null}"#, Found::None),
            (r#"{"id":"res"#, Found::NotYet),
            ("\x1f\u{8b}{\"id\":\"packed\"}", Found::None),
            (&long, Found::None),
            ("", Found::NotYet),
        ];
        for (answer, want) in table {
            assert_eq!(found(&[answer]), want, "{answer:.60}");
        }
    }

    #[test]
    fn an_answer_may_be_split_anywhere() {
        for answer in [EVENTS, r#"{"object":"response","id":"resp_a2"}"#] {
            for at in 0..answer.len() {
                let (first, second) = answer.split_at(at);
                assert_eq!(found(&[first, second]), Found::Id("resp_a2".to_owned()), "{first}");
            }
            let bytes: Vec<_> = (0..answer.len()).map(|at| &answer[at..=at]).collect();
            assert_eq!(found(&bytes), Found::Id("resp_a2".to_owned()));
        }
    }
}
