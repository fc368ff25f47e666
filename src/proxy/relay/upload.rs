//! A request whose body is not kept: its beginning, and the rest of its body behind an answer.

use std::pin::pin;
use std::sync::Arc;

use pingora::http::RequestHeader;

use super::super::caller::Caller;
use super::super::downstream::body::Unkept;
use super::super::downstream::client::{First, Presence};
use super::super::downstream::inlet::Inlet;
use super::super::upload::Upload;
use super::answer::Answer;
use super::request::{KeptBody, Request};
use crate::fleet::Member;
use crate::route::Place;

impl Request {
    /// A request with the rest of its body, which is still to come.
    pub(crate) fn upload(
        caller: Caller,
        header: &RequestHeader,
        raw: Option<&[u8]>,
        member: Member,
        place: Place,
        mut unkept: Unkept,
    ) -> (Self, Box<Inlet>) {
        let start = unkept.start.clone();
        let upload = Arc::new(Upload::new(start.clone(), unkept.share.take()));
        let inlet = Inlet::new(&upload, &unkept);
        let body = KeptBody::Passing { upload, length: unkept.announced };
        (Self::with(caller, header, raw, member, place, (body, &start)), inlet)
    }
}

/// Sends the rest of a request that has been answered before its end, as long as its client sends it and its node takes it.
pub(super) async fn send_rest(answer: &mut Answer, client: &mut impl Presence) {
    let sent = {
        let sending = pin!(answer.node.send_rest());
        client.attend(First::Node, sending).await
    };
    if sent.is_err() {
        answer.node.stop_sending();
    }
}
