//! Replaces `${NAME}` and `${NAME:-default}` in the values of a config by variables of the environment.
//!
//! The names of keys stay as they are. A value that holds a variable is shown in messages as the file has it, because
//! the variable may be a secret.

use super::problems::{Collector, plain};
use super::raw::{Raw, Value};
use super::section::step;

/// The variable of this name, if it is set.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The most characters of a variable's name in a message.
const NAME_SHOWN_MAX: usize = 60;

/// Replaces the variables in all values below `raw`, whose path is `path`; what cannot be replaced is a problem.
pub(super) fn expand(raw: &mut Raw, path: &str, variables: Lookup, problems: &Collector) {
    let line = raw.line;
    match &mut raw.value {
        Value::Text(text) if text.contains("${") => match expanded(text, variables) {
            Ok((value, used)) => {
                if used.is_empty() {
                    *text = value;
                } else {
                    problems.conceal(used);
                    raw.written = Some(text.clone());
                    raw.value = typed(value);
                }
            }
            Err(message) => problems.add(path, line, message),
        },
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                expand(item, &format!("{path}[{index}]"), variables, problems);
            }
        }
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let path = path.to_owned() + &step(path, &key.as_key().unwrap_or_default());
                expand(value, &path, variables, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

/// The text with its variables replaced, and each variable that was: its name and its value.
fn expanded(text: &str, variables: Lookup) -> Result<(String, Vec<(String, String)>), String> {
    let (mut out, mut used, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        let after = &found["${".len()..];
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (inner, after) =
            after.split_once('}').ok_or("`${` has no `}`; write `$${` for the two characters")?;
        let (name, default) =
            inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        if default.is_some_and(|default| default.contains("${")) {
            return Err("a variable within the default of another is not supported".to_owned());
        }
        let shown = plain(name, NAME_SHOWN_MAX);
        if !is_name(name) {
            return Err(format!(
                "`{shown}` is not the name of a variable; write ${{NAME}}, ${{NAME:-default}}, or `$${{` for the two characters"
            ));
        }
        match (variables(name), default) {
            (Some(value), None) => {
                out.push_str(&value);
                used.push((name.to_owned(), value));
            }
            (Some(value), Some(_)) if !value.is_empty() => {
                out.push_str(&value);
                used.push((name.to_owned(), value));
            }
            (_, Some(default)) => {
                out.push_str(default);
                used.push((name.to_owned(), String::new()));
            }
            (None, None) => {
                return Err(format!(
                    "the environment variable {shown} is not set; set it, or write a default: ${{{shown}:-default}}"
                ));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok((out, used))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    name.bytes().all(fits) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The value that the text would be if the file had it unquoted.
fn typed(text: String) -> Value {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    match text.as_str() {
        "" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if !is_number => Value::Text(text),
        _ => match (text.parse(), text.parse()) {
            (Ok(integer), _) => Value::Integer(integer),
            (_, Ok(float)) => Value::Float(float),
            _ => Value::Text(text),
        },
    }
}
