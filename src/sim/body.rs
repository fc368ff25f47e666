//! Response bodies of the simulated node; dropping one ends its request.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::flight::Flight;
use super::record::RecordEntry;
use super::wire::Cut;

/// The events of a stream, as its engine produces them.
pub(super) trait EventSource: Send {
    /// The next event; None is the clean end of the body.
    fn poll_event(&mut self, cx: &mut Context<'_>, flight: &Flight) -> Poll<Option<Bytes>>;
    /// True when the last event has been sent and only the end of the body is left.
    fn is_finished(&self) -> bool;
}

pub(super) enum Content {
    Empty,
    Whole(Bytes),
    /// The beginning of a body of `declared` bytes; after it the connection is closed.
    Short {
        part: Bytes,
        declared: u64,
    },
    Events(Box<dyn EventSource>),
    /// The request's own body, echoed as it arrives.
    Echo(Incoming, Option<Box<RecordEntry>>),
    /// Nothing more, for ever.
    Silence,
}

/// The body of an answer, with the flight that ends with it.
pub(super) struct SimBody {
    content: Content,
    flight: Flight,
}

impl SimBody {
    pub(super) fn new(content: Content, flight: Flight) -> Self {
        let mut body = SimBody { content, flight };
        if body.is_end_stream() {
            body.flight.note_answered();
        }
        body
    }

    fn end(&mut self) -> Poll<Option<Bytes>> {
        self.content = Content::Empty;
        self.flight.note_answered();
        Poll::Ready(None)
    }

    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Content::Echo(incoming, entry) = &mut self.content else { return self.end() };
        let data = match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_data().ok(),
            Some(Err(_)) => {
                // The client broke off, so the answer breaks off too.
                self.content = Content::Silence;
                self.flight.conn.cut(Cut::Fin);
                return Poll::Pending;
            }
            None => None,
        };
        if let (Some(entry), Some(data)) = (entry.as_mut(), &data) {
            entry.feed(data);
        }
        // If the length is known, hyper does not poll again after the last byte.
        if data.is_none() || incoming.is_end_stream() {
            entry.take().into_iter().for_each(|entry| entry.complete());
            self.flight.note_answered();
        }
        Poll::Ready(data)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.content {
            Content::Empty => self.end(),
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                let _ = self.end();
                Poll::Ready(Some(bytes))
            }
            Content::Short { part, .. } if !part.is_empty() => Poll::Ready(Some(std::mem::take(part))),
            Content::Short { .. } => {
                self.flight.conn.cut(Cut::Fin);
                self.content = Content::Silence;
                Poll::Pending
            }
            Content::Events(stream) => match ready!(stream.poll_event(cx, &self.flight)) {
                Some(event) => {
                    if stream.is_finished() {
                        self.flight.note_answered();
                    }
                    Poll::Ready(Some(event))
                }
                None => self.end(),
            },
            Content::Echo(..) => self.poll_echo(cx),
            Content::Silence => Poll::Pending,
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_data(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(bytes) => bytes.is_empty(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Short { declared, .. } => SizeHint::with_exact(*declared),
            Content::Echo(incoming, _) => incoming.size_hint(),
            Content::Events(_) | Content::Silence => SizeHint::default(),
        }
    }
}
