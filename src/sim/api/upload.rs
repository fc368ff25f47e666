//! Reading a multipart form (RFC 7578) with a file, as far as the simulated node depends on it.

use memchr::memmem;

/// A file with the fields beside it.
pub(super) struct Upload<'a> {
    pub model: Option<&'a str>,
    pub stream: Option<bool>,
    pub max_tokens: Option<u32>,
    /// Ids for the file's content.
    pub prompt: Vec<u32>,
    /// `response_format` asks for text.
    pub plain: bool,
}

/// The boundary is the first line, so that the content type is not needed.
pub(super) fn parse(body: &[u8]) -> Option<Upload<'_>> {
    let first = &body[..memmem::find(body, b"\r\n")?];
    if !first.starts_with(b"--") || first.len() < 3 {
        return None;
    }
    let mut upload = Upload { model: None, stream: None, max_tokens: None, prompt: Vec::new(), plain: false };
    let boundary = [b"\r\n", first].concat();
    let mut rest = &body[first.len()..];
    while let Some(end) = memmem::find(rest, &boundary) {
        upload.take(&rest[..end]);
        rest = &rest[end + boundary.len()..];
    }
    (!upload.prompt.is_empty()).then_some(upload)
}

impl<'a> Upload<'a> {
    fn take(&mut self, part: &'a [u8]) {
        let Some(end) = memmem::find(part, b"\r\n\r\n") else { return };
        let (head, content) = (String::from_utf8_lossy(&part[..end]), &part[end + 4..]);
        let text = std::str::from_utf8(content).unwrap_or_default();
        let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next());
        match name {
            Some("model") => self.model = Some(text),
            Some("stream") => self.stream = Some(text == "true"),
            Some("max_completion_tokens" | "max_tokens") => self.max_tokens = text.parse().ok(),
            Some("response_format") => self.plain = matches!(text, "text" | "srt" | "vtt"),
            Some("file") => self.prompt.extend(content.chunks(1024).map(id)),
            _ => {}
        }
    }
}

/// FNV-1a
fn id(sound: &[u8]) -> u32 {
    let hash = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    sound.iter().fold(0x811c_9dc5, hash) % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_a_file_and_fields() {
        let field = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
                    Content-Type: audio/wav\r\n\r\nRIFF\r\n\r\nsound\r\n";
        let body = field("model", "whisper") + file + &field("stream", "true") + "--b--\r\n";
        let upload = parse(body.as_bytes()).unwrap();
        assert_eq!(upload.model, Some("whisper"));
        assert_eq!((upload.stream, upload.plain, upload.prompt.len()), (Some(true), false, 1));
        for broken in ["", "{}", "--b\r\n", "--b\r\n\r\n--b--\r\n", "--\r\n\r\n--"] {
            assert!(parse(broken.as_bytes()).is_none(), "{broken:?}");
        }
    }
}
