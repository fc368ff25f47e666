//! The target of a request, as nodes get it.

use pingora::http::RequestHeader;

/// The target for the node. Clients may send a whole URI, which servers are to understand (RFC 9112 section 3.2.2) and
/// not all do.
pub(crate) fn path(header: &RequestHeader) -> &[u8] {
    let raw = header.raw_path();
    match header.uri.path_and_query() {
        Some(path) if !raw.starts_with(b"/") && raw.contains(&b':') => path.as_str().as_bytes(),
        _ => raw,
    }
}
