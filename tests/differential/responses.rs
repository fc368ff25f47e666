//! Responses: read by the gateway, by hyper's client, and their heads by httparse.

use std::cell::RefCell;
use std::pin::pin;

use bytes::Bytes;
use evenkeel::http1::{self, parse_response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::Builder;

use crate::facts::{self, Facts, Message};
use crate::wire::{Background, Wire, settle};

/// The pieces come, and then the connection is closed.
pub(crate) fn ours(pieces: &[&[u8]], is_head: bool) -> Facts {
    let mut input = Bytes::new();
    let mut pieces = pieces.iter();
    let head = loop {
        match parse_response(&mut input) {
            Err(http1::Malformed) => return Facts::Refused,
            Ok(Some(head)) if head.status < 200 && head.status != 101 => {
                if head.framing(is_head).is_err() {
                    return Facts::Refused;
                }
                continue;
            }
            Ok(Some(head)) => break head,
            Ok(None) => {}
        }
        let Some(piece) = pieces.next() else { return Facts::Refused };
        input = Bytes::from([&input[..], piece].concat());
    };
    let fields = facts::fields(head.fields.iter());
    let Ok(mut framing) = head.framing(is_head) else { return Facts::Refused };
    let lengths = head.fields.get_all("content-length").count();
    let codings = head.fields.get_all("transfer-encoding").count();
    assert!(lengths + codings <= 1, "one framing is passed on");
    let (body, is_whole) = take(&mut framing.body, &mut input, pieces);
    let goes_on = is_whole && framing.keeps_alive && input.is_empty();
    let start = head.status.to_string();
    Facts::Read(Box::new(Message { start, fields, body, is_whole, goes_on }))
}

/// The body, and whether it came to its end, if the connection is closed after the last piece.
pub(crate) fn take<'a>(
    body: &mut http1::Body,
    input: &mut Bytes,
    pieces: impl Iterator<Item = &'a &'a [u8]>,
) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    let mut pieces = pieces.peekable();
    loop {
        match body.take(input) {
            Ok(more) if more.is_empty() => match pieces.next() {
                Some(piece) => *input = Bytes::from([&input[..], piece].concat()),
                None => return (data, body.closed().is_ok()),
            },
            Ok(more) => data.extend_from_slice(&more),
            Err(http1::Malformed) => return (data, false),
        }
    }
}

pub(crate) fn hypers(pieces: &[&[u8]], is_head: bool) -> Facts {
    let wire = Wire::saying(pieces, true);
    let handshake = Builder::new().max_headers(256).handshake(wire.clone());
    let (mut sender, connection) =
        settle(pin!(handshake)).expect("nothing to wait for").expect("a connection");
    let connection = pin!(connection);
    let mut connection = Background::new(connection);
    let method = if is_head { "HEAD" } else { "GET" };
    let request = http::Request::builder().method(method).uri("/").header("Host", "a");
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let facts = RefCell::new(Facts::Refused);
    let exchange = async {
        let Ok(response) = sender.send_request(request).await else { return };
        let start = response.status().as_u16().to_string();
        let fields = facts::of_map(response.headers());
        let message = Message { start, fields, body: Vec::new(), is_whole: false, goes_on: false };
        *facts.borrow_mut() = Facts::Read(Box::new(message));
        let change = |change: &dyn Fn(&mut Message)| {
            if let Facts::Read(message) = &mut *facts.borrow_mut() {
                change(message);
            }
        };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return };
            if let Ok(data) = frame.into_data() {
                change(&|message| message.body.extend_from_slice(&data));
            }
        }
        change(&|message| message.is_whole = true);
    };
    let was_open = {
        let mut exchange = pin!(connection.beside(exchange));
        let was_open = settle(exchange.as_mut()).is_some();
        if !was_open {
            wire.close();
            settle(exchange).expect("a closed connection leaves nothing to wait for");
        }
        was_open
    };
    // what comes after the end is seen only by reading on
    settle(pin!(connection.beside(std::future::pending::<()>())));
    let goes_on = was_open && sender.is_ready();
    let mut facts = facts.into_inner();
    if let Facts::Read(message) = &mut facts {
        message.goes_on = message.is_whole && goes_on;
    }
    facts
}
