//! The size of a request, for `least_work` and for fairness between keys: tokens of the prompt, and the most tokens of the answer.

use memchr::{memchr, memmem};

use super::place::Place;
use crate::balance::tokens::Size;
use crate::classify::members::{all_members, number};
use crate::config::{Balance, Pool};
use crate::fleet::Flow;

/// Bytes of text in a token: about four of English; JSON's own signs are few beside it.
const BYTES_A_TOKEN: usize = 4;

/// The tokens that an engine makes of an image, about: its bytes in base64 would pass for a hundred times as many.
const IMAGE: usize = 1024;

/// The size of a request to this pool. Zero if neither that chooses by it nor a flow is charged for it. `body`: if it was read whole.
pub(super) fn size(pool: &Pool, flow: Option<Flow>, body: Option<(&Place, &[u8])>) -> Size {
    let is_of_use = pool.balance == Balance::LeastWork || flow.is_some();
    body.filter(|_| is_of_use).map_or_else(Size::default, |(place, body)| of(&place.text(body)))
}

fn of(body: &[u8]) -> Size {
    let texts = in_base64(body);
    let tokens = (body.len() - texts.bytes) / BYTES_A_TOKEN + texts.count * IMAGE;
    Size { prompt: u32::try_from(tokens).unwrap_or(u32::MAX), limit: limit(body) }
}

/// The limit on the answer, in the words of any dialect. As in Python, the last member of a name counts.
fn limit(body: &[u8]) -> Option<u32> {
    const NAMES: [&[u8]; 5] =
        [b"max_tokens", b"max_completion_tokens", b"max_output_tokens", b"n_predict", b"max_new_tokens"];
    let named = all_members(body).filter(|(name, _)| NAMES.contains(name));
    named.filter_map(|(_, value)| number(value)?.try_into().ok()).last()
}

/// Texts in base64 within a body, such as images.
#[derive(Default)]
struct InBase64 {
    count: usize,
    bytes: usize,
}

fn in_base64(body: &[u8]) -> InBase64 {
    const MARK: &[u8] = b";base64,";
    let mut found = InBase64::default();
    let mut rest = body;
    while let Some(at) = memmem::find(rest, MARK) {
        rest = &rest[at + MARK.len()..];
        let length = memchr(b'"', rest).unwrap_or(rest.len());
        found.count += 1;
        found.bytes += length;
        rest = &rest[length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let text = |bytes: usize| format!(r#"{{"prompt":"{}","max_tokens":7}}"#, "x".repeat(bytes));
        let image = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "A".repeat(100_000));
        for (body, prompt, limit) in [
            (text(4000), 1007, Some(7)),
            (image.clone(), 1024 + 8, None),
            (format!("[{image},{image}]"), 2048 + 16, None),
            (r#"{"max_completion_tokens": 12 }"#.to_owned(), 7, Some(12)),
            (r#"{"max_tokens":null}"#.to_owned(), 4, None),
            (r#"{"a":{"max_tokens":5}}"#.to_owned(), 5, None),
            (r#"{"max_output_tokens":99999999999}"#.to_owned(), 8, None),
            ("no JSON;base64,".to_owned(), 1027, None),
            (String::new(), 0, None),
        ] {
            assert_eq!(of(body.as_bytes()), Size { prompt, limit }, "{body:.60}");
        }
    }
}
