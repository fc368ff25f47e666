//! The reasons for which two readers may differ. Each says which of them is stricter, and is to explain as little as it can.

use std::fmt;

use crate::facts::{Facts, Fields, Message};

/// One message, and what each made of it.
pub(crate) struct Case {
    pub(crate) wire: Vec<u8>,
    /// The response is to HEAD.
    pub(crate) is_head: bool,
    pub(crate) ours: Facts,
    pub(crate) theirs: Facts,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = if self.is_head { " to HEAD" } else { "" };
        write!(f, "{}{asked}\n   ours: {:?}\n theirs: {:?}", self.wire.escape_ascii(), self.ours, self.theirs)
    }
}

/// A difference that is meant.
pub(crate) struct Reason {
    pub(crate) words: &'static str,
    pub(crate) explains: fn(&Case) -> bool,
}

const BLANKS_AFTER_SIZE: Reason = Reason {
    words: "hyper skips blanks after a chunk's size; RFC 9112 section 7.1.1 has them before an extension only",
    explains: |case| {
        ours_ends_first(case)
            && any_size(case, |_, after| {
                matches!(after, [b' ' | b'\t', .., b'\r']) && extension(after).is_none()
            })
    },
};

const CONTROL_IN_EXTENSION: Reason = Reason {
    words: "hyper skips control characters in a chunk's extension; RFC 9112 section 7.1.1 has none",
    explains: |case| {
        let is_odd = |byte: &u8| byte.is_ascii_control() && !b"\t\r".contains(byte);
        ours_ends_first(case)
            && any_size(case, |_, after| extension(after).is_some_and(|text| text.iter().any(is_odd)))
    },
};

const LONG_SIZE: Reason = Reason {
    words: "hyper takes any number of zeros before a chunk's size; the gateway takes 16 digits, enough for 64 bits",
    explains: |case| {
        ours_ends_first(case) && any_size(case, |digits, _| digits.len() > 16 && digits[0] == b'0')
    },
};

const BARE_LINE_FEED_IN_TRAILERS: Reason = Reason {
    words: "hyper takes a bare LF in a trailer section for a part of a line, and as the end of one afterwards: it swallows \
            the beginning of the next message",
    explains: |case| {
        let (Some(ours), Some(theirs)) = (case.ours.message(), case.theirs.message()) else { return false };
        ours_ends_first(case) && ours.body == theirs.body && has_bare_line_feed(body(&case.wire))
    },
};

const ODD_LIST: Reason = Reason {
    words: "hyper reads no list that has bytes other than ASCII; RFC 9110 section 5.5 has them read as any others",
    explains: |case| {
        let (Some(ours), Some(theirs)) = (case.ours.message(), case.theirs.message()) else {
            return false;
        };
        let is_odd = |name| values(&ours.fields, name).any(|list| !list.is_ascii());
        let same_head = ours.start == theirs.start && ours.fields == theirs.fields;
        let same_body = ours.body == theirs.body && ours.is_whole == theirs.is_whole;
        same_head && (is_odd("transfer-encoding") || same_body && !ours.goes_on && is_odd("connection"))
    },
};

const HUGE_LENGTH: Reason = Reason {
    words: "hyper has other uses for the two largest lengths, and refuses them",
    explains: |case| {
        let is_huge = |value: &[u8]| number(value).is_some_and(|length| length > u64::MAX - 2);
        let ours = case.ours.message().filter(|_| case.theirs == Facts::Refused);
        ours.is_some_and(|ours| values(&ours.fields, "content-length").any(is_huge) && !ours.is_whole)
    },
};

pub(crate) const RESPONSE_REASONS: &[Reason] = &[
    HUGE_LENGTH,
    BLANKS_AFTER_SIZE,
    CONTROL_IN_EXTENSION,
    LONG_SIZE,
    BARE_LINE_FEED_IN_TRAILERS,
    Reason {
        words: "hyper refuses a coding in HTTP/1.0; the gateway reads it and closes, as RFC 9112 section 6.1 says",
        explains: |case| {
            let ours = case.ours.message().filter(|_| case.theirs == Facts::Refused);
            let is_coded = |ours: &Message| values(&ours.fields, "transfer-encoding").count() > 0;
            ours.is_some_and(|ours| is_coded(ours) && !ours.goes_on) && has(&case.wire, b"HTTP/1.0 ")
        },
    },
    ODD_LIST,
    Reason {
        words: "hyper believes a response whose end is in doubt, by its coding or by two equal lengths; RFC 9112 section 6.3 has \
                it handled as an error, and nginx from 1.23 on answers 502",
        explains: |case| {
            let theirs = case.theirs.message().filter(|_| case.ours == Facts::Refused);
            theirs.is_some_and(|theirs| {
                let codings: Vec<_> = values(&theirs.fields, "transfer-encoding").collect();
                let is_odd = codings.len() > 1
                    || codings.iter().any(|coding| !coding.eq_ignore_ascii_case(b"chunked"));
                let lengths = values(&theirs.fields, "content-length").count();
                is_odd || lengths > 1 || !codings.is_empty() && lengths > 0
            })
        },
    },
    Reason {
        words: "hyper does not look at the length of a response without a body; the gateway passes no bad one on",
        explains: |case| {
            let theirs = case.theirs.message().filter(|_| case.ours == Facts::Refused);
            let is_bad = |theirs: &Message| {
                let mut lengths = values(&theirs.fields, "content-length").map(number);
                let first = lengths.next().flatten();
                first.is_none() || lengths.any(|length| length != first)
            };
            theirs.is_some_and(|theirs| {
                (case.is_head || matches!(&*theirs.start, "101" | "204" | "304")) && is_bad(theirs)
            })
        },
    },
    Reason {
        words: "hyper takes a list of equal lengths for one; a client may not (RFC 9110 section 8.6)",
        explains: |case| {
            let theirs = case.theirs.message().filter(|_| case.ours == Facts::Refused);
            theirs.is_some_and(|theirs| {
                values(&theirs.fields, "content-length").any(|value| value.contains(&b','))
            })
        },
    },
    Reason {
        words: "hyper hands a connection over that has switched protocols; what the gateway does with it is its caller's affair",
        explains: |case| {
            let (Some(ours), Some(theirs)) = (case.ours.message(), case.theirs.message()) else {
                return false;
            };
            ours.start == "101" && ours.goes_on && *ours == Message { goes_on: true, ..theirs.clone() }
        },
    },
];

/// A name in the letters of DNS, and a port or none.
fn is_plain_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().position(|byte| *byte == b':') {
        Some(at) => (&host[..at], &host[at + 1..]),
        None => (host, &b""[..]),
    };
    let mut labels = name.split(|byte| *byte == b'.');
    let is_label = |label: &[u8]| {
        !label.is_empty() && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    labels.all(is_label) && port.iter().all(u8::is_ascii_digit)
}

pub(crate) const REQUEST_REASONS: &[Reason] = &[
    ODD_LIST,
    HUGE_LENGTH,
    BLANKS_AFTER_SIZE,
    CONTROL_IN_EXTENSION,
    LONG_SIZE,
    BARE_LINE_FEED_IN_TRAILERS,
    Reason {
        words: "hyper takes a bare LF for a line end, which RFC 9112 section 2.2 allows; the gateway refuses it, for \
                a parser before it may have read one line there",
        explains: |case| {
            let (Some(ours), Some(theirs)) = (case.ours.message(), case.theirs.message()) else {
                return ours_refuses(case).is_some() && has_bare_line_feed(head(&case.wire));
            };
            // before the next request
            let is_same = *theirs == Message { goes_on: true, ..ours.clone() };
            is_same
                && (has(&case.wire, b"\n\nGET /next")
                    || ours.body.ends_with(b"\r") && has(&case.wire, b"\r\nGET /next"))
        },
    },
    Reason {
        words: "hyper leaves Host to its service; RFC 9112 section 3.2 demands one in HTTP/1.1, never two, and the name \
                of a host in it",
        explains: |case| {
            ours_refuses(case).is_some_and(|theirs| match values(&theirs.fields, "host").count() {
                0 => has(&case.wire, b" HTTP/1.1\r\n"),
                1 => values(&theirs.fields, "host").any(|host| !is_plain_host(host)),
                hosts => hosts > 1,
            })
        },
    },
    Reason {
        words: "hyper lets Transfer-Encoding win over Content-Length, and closes; RFC 9112 section 6.3 allows to refuse it",
        explains: |case| {
            ours_refuses(case).is_some_and(|theirs| !theirs.goes_on)
                && lines_of(&case.wire, b"content-length") > 0
                && lines_of(&case.wire, b"transfer-encoding") > 0
        },
    },
    Reason {
        words: "hyper takes two equal lengths for one, which RFC 9112 section 6.3 allows; the gateway needs no such sender",
        explains: |case| ours_refuses(case).is_some() && lines_of(&case.wire, b"content-length") > 1,
    },
    Reason {
        words: "hyper's service may take off other codings before the last one; the gateway knows none (RFC 9112 section 6.1)",
        explains: |case| {
            ours_refuses(case).is_some_and(|theirs| {
                let codings: Vec<_> = values(&theirs.fields, "transfer-encoding").collect();
                !codings.is_empty() && (codings.len() > 1 || !codings[0].eq_ignore_ascii_case(b"chunked"))
            })
        },
    },
    Reason {
        words: "hyper leaves the form of the target to its service; a node gets a path, or `*` with OPTIONS",
        explains: |case| {
            ours_refuses(case).is_some_and(|theirs| {
                let (method, target) = theirs.start.split_once(' ').expect("a target");
                let is_known = ["/", "http://", "https://"].iter().any(|start| target.starts_with(start));
                !is_known && (method, target) != ("OPTIONS", "*")
            })
        },
    },
    Reason {
        words: "hyper's targets are UTF-8; nodes may want other bytes",
        explains: |case| {
            let is_odd = |ours: &Message| ours.start.contains("\\x");
            case.theirs == Facts::Refused && case.ours.message().is_some_and(is_odd)
        },
    },
];

/// The part that hyper read of a request which the gateway refuses.
fn ours_refuses(case: &Case) -> Option<&Message> {
    case.theirs.message().filter(|_| case.ours == Facts::Refused)
}

/// The gateway has found a fault in the body, and hyper has read on.
fn ours_ends_first(case: &Case) -> bool {
    let (Some(ours), Some(theirs)) = (case.ours.message(), case.theirs.message()) else { return false };
    let same_head = ours.start == theirs.start && ours.fields == theirs.fields;
    same_head && !ours.is_whole && !ours.goes_on && theirs.body.starts_with(&ours.body)
}

/// There is a line like this in the body: digits of a size, and the rest up to the line feed.
fn any_size(case: &Case, like: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    body(&case.wire).split(|byte| *byte == b'\n').any(|line| {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        digits > 0 && like(&line[..digits], &line[digits..])
    })
}

/// The bytes after the semicolon that follows a size.
fn extension(after: &[u8]) -> Option<&[u8]> {
    let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    after[blanks..].strip_prefix(b";")
}

fn values<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
}

fn number(value: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok())
}

fn has(wire: &[u8], part: &[u8]) -> bool {
    wire.windows(part.len()).any(|window| window == part)
}

/// The bytes up to an empty line, however its end is written.
fn head(wire: &[u8]) -> &[u8] {
    let start = wire.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let end = |at: usize| {
        let ends: [&[u8]; 2] = [b"\n\n", b"\n\r\n"];
        ends.iter().find(|end| wire[at..].starts_with(end)).map(|end| at + end.len())
    };
    &wire[..(start..wire.len()).find_map(end).unwrap_or(wire.len())]
}

/// The bytes after the head, and after those of informational responses before it.
fn body(wire: &[u8]) -> &[u8] {
    let mut rest = &wire[head(wire).len()..];
    while rest.starts_with(b"HTTP/1.1 ") {
        rest = &rest[head(rest).len()..];
    }
    rest
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

/// The number of fields of that name in the head.
fn lines_of(wire: &[u8], name: &[u8]) -> usize {
    let is_it = |line: &&[u8]| {
        line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name) && line[name.len()] == b':'
    };
    head(wire).split(|byte| *byte == b'\n').filter(is_it).count()
}
