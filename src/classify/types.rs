//! The `type` of an event.

/// True if `"type"` is this.
pub(super) fn has_type(data: &[u8], kind: &str) -> bool {
    let mut rest = data;
    while let Some(at) = memchr::memmem::find(rest, b"\"type\"") {
        rest = &rest[at + b"\"type\"".len()..];
        let value = rest.trim_ascii_start().strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        if value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_prefix(kind.as_bytes()))
            .is_some_and(|rest| rest.starts_with(b"\""))
        {
            return true;
        }
    }
    false
}
