//! The access to the admin address: a token, which comes as a bearer (RFC 6750) or as the password of Basic (RFC 7617), for which
//! browsers ask.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::answer::Answer;
use super::register;
use crate::config::Role;
use crate::keys;
use crate::tokens::Tokens;

/// The paths that need no token: balancers and kubelets ask there whether the gateway lives and is ready.
const WITHOUT_TOKEN: [&str; 2] = ["/livez", "/readyz"];
const CHALLENGE: &str = r#"Basic realm="evenkeel", charset="UTF-8", Bearer realm="evenkeel""#;

/// The answer to a request that may not be served.
pub(super) fn refusal(tokens: &Tokens, method: &Method, path: &str, headers: &HeaderMap) -> Option<Answer> {
    if tokens.is_open() || WITHOUT_TOKEN.contains(&path) {
        return None;
    }
    let is_look = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let roles = token(headers).map(|token| tokens.roles(&token)).unwrap_or_default();
    let may = |role: &Role| match role {
        Role::Operate => true,
        Role::Read => is_look,
        Role::Register => register::is_it(method, path),
    };
    if roles.iter().any(may) {
        return None;
    }
    let forbidden = |why| Some(Answer::error(StatusCode::FORBIDDEN, why));
    match roles.first() {
        Some(Role::Register) => {
            forbidden("this token may register nodes, and nothing else: its role is `register`")
        }
        Some(Role::Read | Role::Operate) => {
            forbidden("this token may look, but give no orders: its role is `read`")
        }
        None => Some(challenge()),
    }
}

fn challenge() -> Answer {
    let why = "a token of `server.admin.tokens` is needed: as `Authorization: Bearer ...`, or as a password";
    let field: (HeaderName, HeaderValue) = (header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    Answer::error(StatusCode::UNAUTHORIZED, why).with_field(field)
}

/// The token that a request shows, if it shows one.
fn token(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let field = field.to_str().ok()?;
    if let Some(token) = keys::bearer(field.as_bytes()) {
        return String::from_utf8(token.to_vec()).ok();
    }
    let (scheme, credential) = field.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(credential.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearer_or_a_password() {
        let table: [(&[&str], Option<&str>); 9] = [
            (&["Bearer abc"], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            // user:pass:word
            (&["Basic dXNlcjpwYXNzOndvcmQ="], Some("pass:word")),
            (&["Basic !"], None),
            (&["Basic YWJj"], None),
            (&["Digest abc"], None),
            (&["Bearer"], None),
            (&["Bearer abc", "Bearer abd"], None),
            (&[], None),
        ];
        for (fields, want) in table {
            let mut headers = HeaderMap::new();
            fields.iter().for_each(|field| {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(field));
            });
            assert_eq!(token(&headers).as_deref(), want, "{fields:?}");
        }
    }
}
