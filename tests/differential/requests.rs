//! Requests: judged by the gateway, read by hyper's server, and their heads by httparse.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;

use bytes::Bytes;
use evenkeel::http1::check_request;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use crate::facts::{self, Facts, Message};
use crate::messages::NEXT;
use crate::responses::take;
use crate::wire::{Wire, settle};

const FIELDS_MAX: usize = 256;

/// The head is found by httparse, as Pingora does, and judged by the gateway.
pub(crate) fn ours(wire: &[u8]) -> Facts {
    let masked = with_ascii_target(wire);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = request.parse(&masked) else {
        // nor does the gateway take for a head what httparse refuses
        for (at, _) in wire.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            assert!(check_request(&wire[..=at]).is_err(), "{}", wire.escape_ascii());
        }
        return Facts::Refused;
    };
    let Ok(framing) = check_request(&wire[..length]) else { return Facts::Refused };
    let target = request.path.unwrap_or_default();
    let at = target.as_ptr() as usize - masked.as_ptr() as usize;
    let start = start(request.method.unwrap_or_default(), &wire[at..at + target.len()]);
    let lines = || request.headers.iter().map(|field| (field.name.as_bytes(), field.value));
    let says = |token: &str| {
        let lists = lines().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        let mut words = lists.flat_map(|(_, list)| list.split(|byte| *byte == b','));
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    let keeps = !says("close") && (request.version == Some(1) || says("keep-alive"));
    let mut rest = Bytes::copy_from_slice(&wire[length..]);
    let (body, is_whole) = take(&mut framing.body(), &mut rest, std::iter::empty());
    let goes_on = keeps && is_whole && is_next(&rest);
    Facts::Read(Box::new(Message { start, fields: facts::fields(lines()), body, is_whole, goes_on }))
}

fn is_next(rest: &[u8]) -> bool {
    check_request(rest).is_ok()
        && rest.ends_with(NEXT)
        && rest[..rest.len() - NEXT.len()].iter().all(u8::is_ascii_whitespace)
}

/// httparse wants UTF-8 there, which the gateway does not.
fn with_ascii_target(wire: &[u8]) -> Vec<u8> {
    let start = wire.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let mut masked = wire.to_vec();
    let line = masked[start..].iter_mut().take_while(|byte| **byte != b'\n');
    line.filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'x');
    masked
}

fn start(method: &str, target: &[u8]) -> String {
    // in the form that hyper gives it
    let target =
        Uri::try_from(target).map_or_else(|_| target.escape_ascii().to_string(), |uri| uri.to_string());
    format!("{method} {target}")
}

pub(crate) fn hypers(pieces: &[&[u8]]) -> Facts {
    let seen = RefCell::new(Vec::<Message>::new());
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, mut body) = request.into_parts();
        let start = format!("{} {}", head.method, head.uri);
        let fields = facts::of_map(&head.headers);
        let number = seen.borrow().len();
        seen.borrow_mut().push(Message { start, fields, body: Vec::new(), is_whole: false, goes_on: false });
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) };
            if let Ok(data) = frame.into_data() {
                seen.borrow_mut()[number].body.extend_from_slice(&data);
            }
        }
        seen.borrow_mut()[number].is_whole = true;
        Ok(Response::new(Empty::<Bytes>::new()))
    });
    let mut server = Builder::new();
    let server = server.max_headers(FIELDS_MAX).header_read_timeout(None);
    // it ends with an error, or waits for more
    let _ = settle(pin!(server.serve_connection(Wire::saying(pieces, false), service)));
    let mut seen = seen.into_inner().into_iter();
    let Some(mut first) = seen.next() else { return Facts::Refused };
    first.goes_on = seen.next().is_some_and(|second| second.start == "GET /next");
    Facts::Read(Box::new(first))
}
