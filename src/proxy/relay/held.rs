//! Failed responses, kept in case no better one comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::super::acquire::gone;
use super::super::ctx::Ctx;
use super::super::{Gateway, headers};
use super::attempt::Answer;
use super::head::Told;

/// A failed response is kept up to this size, in bytes.
const HELD_MAX: usize = 256 * 1024;
/// How long a failed response may take to be read.
const HELD_WITHIN: Duration = Duration::from_secs(2);

/// A failed response: what the client gets if no better one comes.
#[derive(Debug)]
pub struct Held {
    pub node: Arc<str>,
    head: Box<ResponseHeader>,
    body: Bytes,
}

impl Held {
    /// Reads a failed response to its end, within bounds; `start` of its body has been read.
    pub async fn read(
        session: &mut Session,
        ctx: &mut Ctx,
        answer: &mut Answer,
        start: Bytes,
    ) -> Option<Self> {
        let read = async {
            let mut body = BytesMut::from(start);
            while !answer.ended {
                let chunk = answer.next().await.ok()?;
                body.extend_from_slice(&chunk);
                if body.len() > HELD_MAX {
                    return None;
                }
            }
            Some(body.freeze())
        };
        let body = tokio::select! {
            body = timeout(HELD_WITHIN, read) => body.ok().flatten()?,
            () = gone(session) => {
                ctx.client_gone = true;
                return None;
            }
        };
        Some(Self::whole(ctx, answer, body))
    }

    /// One that has been read.
    pub fn whole(ctx: &Ctx, answer: &Answer, body: Bytes) -> Self {
        Self { node: ctx.node_name(), head: answer.head.clone(), body }
    }

    /// Gives it to the client, unchanged; `why` goes to the log.
    pub async fn give(
        mut self,
        gateway: &Gateway,
        session: &mut Session,
        ctx: &mut Ctx,
        why: &'static str,
    ) -> Result<()> {
        ctx.note = Some(why);
        if gateway.live.is_stopping() {
            session.set_keepalive(None);
        }
        headers::to_client(&mut self.head, session.req_header())?;
        Told::of(ctx, &self.node).dress(&mut self.head)?;
        let tasks =
            vec![HttpTask::Header(self.head, self.body.is_empty()), HttpTask::Body(Some(self.body), true)];
        session.write_response_tasks(tasks).await.map(|_| ())
    }
}
