//! Keys as clients send them.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use siphasher::sip::SipHasher13;

use crate::config::SecretHash;

/// The fields that may hold a key, in the order in which they are looked at: OpenAI's, Anthropic's and Azure's.
pub const FIELDS: [&str; 3] = [AUTHORIZATION_NAME, X_API_KEY, API_KEY];
const AUTHORIZATION_NAME: &str = "authorization";
const X_API_KEY: &str = "x-api-key";
const API_KEY: &str = "api-key";

/// The longest key that is looked up, in bytes: hashing is what an unknown client can make the gateway do.
const TOKEN_MAX: usize = 512;
const PREFIX: &str = "ek-";

/// A field that nodes do not get where the gateway checks keys.
pub fn is_field(name: &[u8]) -> bool {
    let is = |field: &str| name.eq_ignore_ascii_case(field.as_bytes());
    match name.len() {
        7 => is(API_KEY),
        9 => is(X_API_KEY),
        13 => is(AUTHORIZATION_NAME),
        _ => false,
    }
}

/// The key of a request: that of the first field which holds one.
pub fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    let plain = |name| headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
    bearers.chain(plain(X_API_KEY)).chain(plain(API_KEY)).find(|token| !token.is_empty())
}

/// The credential of the scheme `Bearer` (RFC 6750 section 2.1).
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.trim_ascii().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

/// The hash of a key, as the file has it; `None`: it is too long to be one.
pub fn hash(token: &[u8]) -> Option<SecretHash> {
    (token.len() <= TOKEN_MAX).then(|| SecretHash::of(token))
}

/// A new key: `ek-` and 43 letters, digits, `-` and `_`.
pub fn token(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random))
}

/// A number for a key's name: the same in every gateway and version.
pub fn flow(name: &str) -> u64 {
    SipHasher13::new().hash(name.as_bytes())
}
