//! The relation of a request to stored responses (OpenAI's Responses API).

use super::place::Place;
use crate::classify::members::members;
use crate::fleet::StoredId;
use crate::journey::Conversation;

/// The stored response that a request names, in its path or its body, and whether its own answer is stored.
pub fn conversation(place: &Place, method: &str, path: &str, body: &[u8]) -> Conversation {
    if place.response().is_some() {
        return Conversation { named: place.response(), is_stored: false };
    }
    if method != "POST" || !path.trim_end_matches('/').ends_with("/responses") {
        return Conversation::default();
    }
    let body = place.text(body);
    let named = last_member(&body, "previous_response_id");
    let named = named.and_then(|id| serde_json::from_slice::<String>(id).ok());
    Conversation {
        named: named.filter(|id| !id.is_empty()).map(|id| StoredId::of(&id)),
        // vLLM's own default depends on its environment
        is_stored: last_member(&body, "store") != Some(b"false"),
    }
}

/// As in Python, the last one counts.
fn last_member<'a>(body: &'a [u8], name: &'a str) -> Option<&'a [u8]> {
    // most bodies are long and have none
    memchr::memmem::find(body, name.as_bytes())?;
    members(body, name).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str, body: &str) -> Conversation {
        conversation(&Place::of(path, None, None, None), method, path, body.as_bytes())
    }

    #[test]
    fn a_path_names_a_response_whatever_the_method() {
        let want = Conversation { named: Some(StoredId::of("resp_1")), is_stored: false };
        for method in ["GET", "DELETE", "POST"] {
            let body = r#"{"previous_response_id":"no"}"#;
            assert_eq!(of(method, "/v1/responses/resp_1/cancel", body), want, "{method}");
        }
    }

    #[test]
    fn responses_in_bodies() {
        let r = Some(StoredId::of("resp_1"));
        for (body, named, is_stored) in [
            (r#"{"input":"x"}"#, None, true),
            (r#"{"previous_response_id":"resp_1","input":[{"previous_response_id":"no"}]}"#, r, true),
            (r#"{"temperature":NaN, "store" : false, "previous_response_id" : "resp\u005f1"}"#, r, false),
            (r#"{"input":"\"store\":false","previous_response_id":null,"store":true}"#, None, true),
            (r#"{"previous_response_id":""}"#, None, true),
            (r#"{"previous_response_id":7,"store":null}"#, None, true),
            ("no JSON", None, true),
        ] {
            let want = Conversation { named, is_stored };
            assert_eq!(of("POST", "/v1/responses", body), want, "{body}");
            assert_eq!(of("POST", "/x/responses/", body), want, "{body}");
            for (method, path) in [
                ("POST", "/v1/chat/completions"),
                ("GET", "/v1/responses"),
                ("POST", "/v1/responses/input_tokens"),
            ] {
                assert_eq!(of(method, path, body), Conversation::default(), "{method} {path}");
            }
        }
    }
}
