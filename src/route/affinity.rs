//! The key that requests which belong together have in common: by it `affinity` and `ip_hash` choose a node.

use http::HeaderMap;
use siphasher::sip::SipHasher13;

use super::place::Place;
use crate::classify::members::{all_members, elements, length, members};
use crate::config::{Balance, Pool};

/// The key of a request to this pool, the same in every gateway and version. `None`: any node will do. `client`: its address.
/// `body`: if it was read whole.
pub(super) fn affinity(
    pool: &Pool,
    headers: &HeaderMap,
    client: &str,
    body: Option<(&Place, &[u8])>,
) -> Option<u64> {
    match pool.balance {
        Balance::LeastInFlight | Balance::LeastWork | Balance::RoundRobin | Balance::Random => None,
        Balance::IpHash => Some(hash(0, client.as_bytes())),
        Balance::Affinity => session(pool, headers, body),
    }
}

/// The key of a request's session, whatever the pool's policy.
pub fn session(pool: &Pool, headers: &HeaderMap, body: Option<(&Place, &[u8])>) -> Option<u64> {
    let mut values = pool.affinity.headers.iter().filter_map(|name| headers.get(name));
    let session =
        values.find_map(|value| Some(value.as_bytes().trim_ascii()).filter(|name| !name.is_empty()));
    let in_body = || body.and_then(|(place, body)| in_body(&place.text(body)));
    session.map(|session| hash(0, session)).or_else(in_body)
}

/// Chained by the seed: a second part goes on from the hash of the first.
fn hash(seed: u64, part: &[u8]) -> u64 {
    SipHasher13::new_with_keys(seed, part.len() as u64).hash(part)
}

/// The parts of a request that its key is made of. As in Python, the last member of a name counts.
#[derive(Default)]
struct Parts<'a> {
    prompt_cache_key: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    model: Option<&'a [u8]>,
    /// Anthropic's and Ollama's `system`, and the `instructions` of the Responses API.
    system: Option<&'a [u8]>,
    /// The chat so far, or the prompt.
    content: Option<&'a [u8]>,
}

fn in_body(body: &[u8]) -> Option<u64> {
    let mut parts = Parts::default();
    for (name, value) in all_members(body) {
        let part = match name {
            b"prompt_cache_key" => &mut parts.prompt_cache_key,
            b"user" => &mut parts.user,
            b"model" => &mut parts.model,
            b"system" | b"instructions" => &mut parts.system,
            b"messages" | b"input" | b"prompt" | b"inputs" => &mut parts.content,
            _ => continue,
        };
        *part = Some(value);
    }
    let session = [parts.prompt_cache_key, parts.user].into_iter().flatten().find(|value| is_name(value));
    session.map(|value| hash(1, value)).or_else(|| parts.head())
}

/// A text that is not empty, or a number.
fn is_name(value: &[u8]) -> bool {
    matches!(value, [b'"', _, .., b'"'] | [b'0'..=b'9' | b'-', ..])
}

impl Parts<'_> {
    /// The hash of what stays the same while a chat grows. The system prompt alone would be the same for all chats of an application.
    fn head(&self) -> Option<u64> {
        let content = self.content.filter(|content| *content != b"null")?;
        let before =
            [self.model, self.system].into_iter().fold(2, |seed, part| whole(seed, part.unwrap_or_default()));
        let is_chat =
            content.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
        if !is_chat {
            return Some(whole(before, content));
        }
        let mut seed = before;
        for message in elements(content) {
            seed = hash(seed, message);
            if members(message, "role").next() == Some(b"\"user\"") {
                break;
            }
        }
        Some(seed)
    }
}

/// The hash of a value with whatever is behind it.
fn whole(seed: u64, value: &[u8]) -> u64 {
    hash(seed, &value[..length(value).unwrap_or(value.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}"#;

    fn key(pool: &Pool, headers: &[(&'static str, &str)], body: &str) -> Option<u64> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        affinity(pool, &headers, "192.0.2.1", Some((&Place::default(), body.as_bytes())))
    }

    fn pool(balance: &str) -> Pool {
        let text = format!(
            "server: {{ listen: 127.0.0.1:1 }}\npools: {{ a: {{ nodes: [n:1], balance: {balance} }} }}"
        );
        crate::config::Config::parse(&text, "t").expect("a config").pools.remove(0)
    }

    fn by_body(body: &str) -> Option<u64> {
        key(&pool("affinity"), &[], body)
    }

    #[test]
    fn only_the_hashing_policies_need_a_key() {
        for balance in ["least_in_flight", "least_work", "round_robin", "random"] {
            assert_eq!(key(&pool(balance), &[("x-session-id", "1")], r#"{"user":"u"}"#), None);
        }
        let address = key(&pool("ip_hash"), &[("x-session-id", "1")], "");
        assert_eq!(address, Some(hash(0, b"192.0.2.1")));
    }

    /// Old and new gateways must agree while a fleet of them is upgraded one by one.
    #[test]
    fn keys_are_the_same_in_every_version() {
        let by_header = key(&pool("affinity"), &[("x-session-id", "a")], "");
        let by_user = by_body(r#"{"user":"a"}"#);
        let by_head = by_body(&format!("{HEAD}]}}"));
        assert_eq!(
            [by_header, by_user, by_head],
            [8_385_128_935_425_698_832, 4_179_549_472_746_833_866, 3_008_924_906_709_213_020].map(Some)
        );
    }

    #[test]
    fn the_first_name_of_a_session_counts() {
        let pool = pool("affinity");
        let user = r#"{"user":"u","messages":[{"role":"user","content":"x"}]}"#;
        let both = r#"{"user":"u","prompt_cache_key":"k","messages":[]}"#;
        let session = key(&pool, &[("x-correlation-id", "c"), ("x-session-id", " s ")], both);
        assert_eq!(session, key(&pool, &[("x-session-id", "s")], ""));
        let correlation = key(&pool, &[("x-correlation-id", "c"), ("x-session-id", "")], both);
        assert_eq!(correlation, key(&pool, &[("x-correlation-id", "c")], user));
        let keys = [session, correlation, by_body(both), by_body(user), by_body(r#"{"user":7}"#)];
        assert!(
            keys.iter().enumerate().all(|(at, key)| key.is_some() && !keys[..at].contains(key)),
            "{keys:?}"
        );
        assert_eq!(by_body(both), by_body(r#"{"prompt_cache_key" : "k"}"#));
        assert_eq!(by_body(user), by_body(r#"{"prompt_cache_key":null,"user":"","input":"u","user":"u"}"#));
    }

    #[test]
    fn a_chat_keeps_its_key_while_it_grows() {
        let first = by_body(&format!("{HEAD}]}}"));
        let answer = r#"{"role":"assistant","content":"\"}"}"#;
        for next in [
            format!("{HEAD},{answer}]}}"),
            format!(
                r#"{HEAD}, {answer} ,{{"role":"user","content":"again"}}],"stream":true,"temperature":NaN}}"#
            ),
        ] {
            assert_eq!(by_body(&next), first, "{next}");
        }
        for other in [
            HEAD.replace("\"m\"", "\"n\""),
            HEAD.replace("\"s\"", "\"t\""),
            HEAD.replace("\"u\"", "\"v\""),
            HEAD.replace("\"user\"", "\"assistant\""),
            HEAD.replace("{\"role\":\"system\",\"content\":\"s\"},", ""),
            HEAD.replace("\"model\"", "\"system\":[{\"text\":\"x\"}],\"model\""),
        ] {
            assert_ne!(by_body(&format!("{other}]}}")), first, "{other}");
        }
    }

    #[test]
    fn prompts_of_every_form() {
        let all = [
            r#"{"prompt":"p"}"#,
            r#"{"prompt":["p"]}"#,
            r#"{"prompt":[1,2]}"#,
            r#"{"instructions":"i","input":"p"}"#,
            r#"{"instructions":"j","input":"p"}"#,
            r#"{"input":[{"role":"user","content":"p"}]}"#,
            r#"{"input":[{"role":"user","content":"q"}]}"#,
            r#"{"system":[{"type":"text","text":"a"}],"messages":[{"role":"user","content":"p"}]}"#,
            r#"{"system":[{"type":"text","text":"b"}],"messages":[{"role":"user","content":"p"}]}"#,
        ];
        let keys = all.map(by_body);
        assert!(
            keys.iter().enumerate().all(|(at, key)| key.is_some() && !keys[..at].contains(key)),
            "{keys:?}"
        );
        assert_eq!(by_body(all[2]), by_body(r#"{"max_tokens":5,"prompt":[1,2],"stream":true}"#));
        for none in ["", "{}", "no JSON", r#"{"model":"m","prompt":null}"#, r#"[{"prompt":"p"}]"#] {
            assert_eq!(by_body(none), None, "{none}");
        }
    }

    #[test]
    fn a_body_that_was_not_read_has_the_fields_of_its_head_alone() {
        let headers: HeaderMap =
            [("x-session-id".parse().unwrap(), "s".parse().unwrap())].into_iter().collect();
        let pool = pool("affinity");
        assert!(affinity(&pool, &headers, "", None).is_some());
        assert_eq!(affinity(&pool, &HeaderMap::new(), "", None), None);
    }
}
