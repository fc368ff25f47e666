//! One request at a node and its response, by either version of HTTP.

use std::time::Duration;

use bytes::Bytes;

use super::ended::ReadError;
use super::http1::Http1;
use super::http2::Http2;
use super::multiplexed::Slot;
use super::outlet::Outlet;
use crate::http1::ResponseHead;
use crate::tls::nodes::{Endpoint, NodeStream};

/// The place where a request can be sent.
pub(crate) enum Line {
    /// A connection of its own.
    Http1(NodeStream),
    /// A place among the streams of a connection.
    Http2(Slot),
}

/// One exchange.
pub(crate) enum Exchange {
    Http1(Http1),
    Http2(Box<Http2>),
}

impl Exchange {
    /// Nothing of the request has been written; `read_limit` is the longest silence while its response is read.
    pub(crate) fn new(node: Endpoint, line: Line, read_limit: Duration) -> Self {
        match line {
            Line::Http1(stream) => Self::Http1(Http1::new(node, stream, read_limit)),
            Line::Http2(slot) => {
                let is_secure = matches!(node, Endpoint::Tls(..));
                Self::Http2(Box::new(Http2::new(slot, is_secure, read_limit)))
            }
        }
    }

    /// The same with a request whose body is not kept: it goes out while its answer is waited for.
    pub(crate) fn sending(self, outlet: Box<Outlet>) -> Self {
        match self {
            Self::Http1(node) => Self::Http1(node.sending(outlet)),
            Self::Http2(node) => Self::Http2(Box::new(node.sending(*outlet))),
        }
    }

    /// A part of the request has not been sent, and the node may want it.
    pub(crate) fn is_sending(&self) -> bool {
        match self {
            Self::Http1(node) => node.is_sending(),
            Self::Http2(node) => node.is_sending(),
        }
    }

    /// The node gets no more of the request.
    pub(crate) fn stop_sending(&mut self) {
        match self {
            Self::Http1(node) => node.stop_sending(),
            Self::Http2(node) => node.stop_sending(),
        }
    }

    /// Sends the rest of the request, whose answer has been read.
    pub(crate) async fn send_rest(&mut self) {
        match self {
            Self::Http1(node) => node.send_rest().await,
            Self::Http2(node) => node.send_rest().await,
        }
    }

    /// The next response head, which may be an informational one. `is_head`: the request was HEAD.
    pub(crate) async fn head(&mut self, is_head: bool) -> Result<ResponseHead, ReadError> {
        match self {
            Self::Http1(node) => node.head(is_head).await,
            Self::Http2(node) => node.head(is_head).await,
        }
    }

    /// The request was not sent to its end: the connection serves no other.
    pub(crate) fn close_after(&mut self) {
        match self {
            Self::Http1(node) => node.close_after(),
            // its stream is reset at its end, and the connection serves others
            Self::Http2(_) => {}
        }
    }

    /// A connection that ends now ends because of this request, not before it.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Self::Http1(node) => node.has_begun(),
            // a node that closes it in order says which requests it has not taken
            Self::Http2(_) => true,
        }
    }

    /// Nothing more comes of the body.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Http1(node) => node.is_done(),
            Self::Http2(node) => node.is_done(),
        }
    }

    /// The next piece of the body, which is empty only at its end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Bytes, ReadError> {
        match self {
            Self::Http1(node) => node.next().await,
            Self::Http2(node) => node.next().await,
        }
    }

    /// The connection and its far end, if it is to be kept for another request. One with several streams is kept anyway.
    pub(crate) fn into_reusable(self) -> Option<(Endpoint, NodeStream)> {
        match self {
            Self::Http1(node) => node.into_reusable(),
            Self::Http2(_) => None,
        }
    }
}
