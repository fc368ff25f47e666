//! The page at `/`: one response, joined once from the files in `page/`, which a browser needs nothing else for.
//!
//! A browser runs only what has the hashes in its Content-Security-Policy, and sends nothing to another host. Curves are drawn
//! by uPlot (`page/uplot/`, MIT), as its project publishes it.

use std::io::Write;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

use super::answer::Answer;

const FRAME: &str = include_str!("page/index.html");
const STYLES: &[&str] = &[include_str!("page/uplot/uPlot.min.css"), include_str!("page/page.css")];
const CURVES: &[&str] = &[include_str!("page/uplot/uPlot.iife.min.js")];
const SCRIPTS: &[&str] = &[
    include_str!("page/words.js"),
    include_str!("page/dom.js"),
    include_str!("page/feed.js"),
    include_str!("page/history.js"),
    include_str!("page/curves.js"),
    include_str!("page/marks.js"),
    include_str!("page/pools.js"),
    include_str!("page/nodes.js"),
    include_str!("page/orders.js"),
    include_str!("page/requests.js"),
    include_str!("page/head.js"),
    include_str!("page/main.js"),
];

struct Page {
    plain: Bytes,
    gzip: Bytes,
    policy: HeaderValue,
}

/// The page, packed if the browser takes that.
pub(super) fn answer(headers: &HeaderMap) -> Answer {
    static PAGE: OnceLock<Page> = OnceLock::new();
    let page = PAGE.get_or_init(Page::join);
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("gzip"));
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    let mut fields = vec![
        (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::VARY, "accept, accept-encoding"),
    ];
    if takes_gzip && !page.gzip.is_empty() {
        fields.push(fixed(header::CONTENT_ENCODING, "gzip"));
        return Answer::html(page.gzip.clone(), fields);
    }
    Answer::html(page.plain.clone(), fields)
}

/// The client would rather have HTML than text: a browser.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts.filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"))
}

impl Page {
    fn join() -> Self {
        let (style, curves) = (bare(STYLES), CURVES.concat());
        let script = format!("(() => {{\n{}}})();", bare(SCRIPTS));
        let plain = FRAME
            .replace("<!-- style -->", &format!("<style>{style}</style>"))
            .replace("<!-- script -->", &format!("<script>{curves}</script>\n<script>{script}</script>"));
        let policy = format!(
            "default-src 'none'; script-src '{}' '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(&curves),
            hash(&script),
            hash(&style)
        );
        Self {
            gzip: packed(&plain).unwrap_or_default(),
            plain: plain.into(),
            // base64 and the words above are all visible ASCII; without a policy a browser would run nothing less
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }
}

/// The files without indentation and lines that are comments; no text in them spans lines. Lines keep their numbers.
fn bare(files: &[&str]) -> String {
    let lines = files.iter().flat_map(|file| file.lines()).map(str::trim_start);
    let lines = lines.map(|line| if line.starts_with("//") { "" } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The hash of an element's text, as a policy names it.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

fn packed(text: &str) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_whole() {
        let page = Page::join();
        assert!(page.plain.len() <= 150 * 1000, "{} bytes", page.plain.len());
        assert!(page.gzip.len() * 2 < page.plain.len());
        let text = std::str::from_utf8(&page.plain).expect("UTF-8");
        assert_eq!(text.matches("</script>").count(), 2, "none inside of a script");
        assert_eq!(text.matches("</style>").count(), 1);
        for other in ["src=\"", "@import", "url(", "import("] {
            assert!(!text.contains(other), "{other}: loads something else");
        }
    }

    #[test]
    fn the_policy_has_the_hash_of_each_element() {
        assert_eq!(hash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
        let page = Page::join();
        let policy = page.policy.to_str().expect("ASCII");
        let text = String::from_utf8(page.plain.to_vec()).expect("UTF-8");
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            for element in text.split(open).skip(1) {
                let element = element.split(close).next().expect("an element");
                assert!(policy.contains(&hash(element)), "{open}{}", &element[..40]);
            }
        }
    }

    #[test]
    fn browsers_get_html_and_programs_do_not() {
        let of = |accept| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        assert!(is_wanted(&of("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")));
        assert!(!is_wanted(&of("*/*")));
        assert!(!is_wanted(&HeaderMap::new()));
    }
}
