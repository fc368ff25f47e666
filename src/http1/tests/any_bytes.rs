//! Property tests: rules that hold for any bytes, however they are split.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{ReplyTo, check_request, parse_response, write_response};
use super::{pieces, take};

/// Bytes that are nearly a message: parts of heads and bodies in any order, mixed with random bytes.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 304\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, X\r\n",
        b"X: y\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"\n",
        b" ",
    ];
    let part = prop_oneof![
        8 => proptest::sample::select(PARTS).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(part, 0..9).prop_map(|parts| parts.concat())
}

/// All facts about a response whose bytes arrive in these pieces.
fn facts(wire: &[&[u8]], is_head: bool) -> String {
    let mut input = Bytes::new();
    let mut wire = wire.iter();
    loop {
        match parse_response(&mut input) {
            Err(error) => return format!("{error:?}"),
            Ok(Some(head)) => {
                let framing = head.framing(is_head);
                let facts =
                    format!("{} {:?} {:?}", head.status, head.reason, head.fields.iter().collect::<Vec<_>>());
                let Ok(mut framing) = framing else { return format!("{facts} {framing:?}") };
                let rest: Vec<_> = std::iter::once(&input[..]).chain(wire.copied()).collect();
                let (data, end, _) = take(&mut framing.body, &rest);
                return format!("{facts} {} {data:?} {end:?}", framing.keeps_alive);
            }
            Ok(None) => {}
        }
        let Some(piece) = wire.next() else { return "partial".into() };
        input = Bytes::from([&input[..], piece].concat());
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_facts(
        wire in nearly(),
        cuts in proptest::collection::vec(0_usize..120, 0..10),
        is_head: bool,
    ) {
        prop_assert_eq!(facts(&[&wire], is_head), facts(&pieces(&wire, &cuts), is_head));
        let each: Vec<_> = wire.chunks(1).collect();
        prop_assert_eq!(facts(&[&wire], is_head), facts(&each, is_head));
    }

    /// Whatever a node sends, every parser reads the head for the client in the same way.
    #[test]
    fn written_heads_are_read_back_unchanged(
        wire in nearly(),
        is_head: bool,
        is_http10: bool,
        keeps: bool,
    ) {
        let Ok(Some(head)) = parse_response(&mut Bytes::from(wire)) else { return Ok(()) };
        prop_assume!(head.framing(is_head).is_ok());
        let asked = ReplyTo { is_head, is_http10 };
        let (written, coding, keeps) = write_response(&head, &[("X", "z")], asked, keeps, "today");
        let mut written = Bytes::from(written);
        let again = parse_response(&mut written).unwrap().unwrap();
        prop_assert!(written.is_empty());
        prop_assert_eq!((again.status, again.is_http10, &again.reason), (head.status, false, &head.reason));
        prop_assert_eq!(again.fields.get_all("x").collect::<Vec<_>>(), [b"z"]);
        prop_assert_eq!(again.fields.has_token("connection", "keep-alive"), keeps);
        let framing = again.framing(is_head).unwrap();
        let bodyless = is_head || head.status < 200 || matches!(head.status, 204 | 304);
        if !bodyless {
            let want = match coding {
                super::super::Coding::Plain => "Length",
                super::super::Coding::Chunked => "Chunked",
                super::super::Coding::UntilClose => "UntilClose",
            };
            let body = format!("{:?}", framing.body);
            prop_assert!(body.starts_with(want), "{} is not {}", body, want);
        }
    }

    #[test]
    fn a_request_is_judged_by_its_head_alone(wire in nearly(), bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for raw in [wire, bytes] {
            let verdicts: Vec<_> = (0..=raw.len()).map(|end| check_request(&raw[..end])).collect();
            let Some(end) = verdicts.iter().position(Result::is_ok) else { continue };
            prop_assert!(raw[..end].ends_with(b"\r\n\r\n"));
            prop_assert!(verdicts[end..].iter().all(|verdict| *verdict == verdicts[end]));
        }
    }
}
