//! The rest of a response, after its session has ended: what comes from the node goes to the client's connection.

use std::time::Instant;

use pingora_proxy::Session;

use super::super::Gateway;
use super::super::connection;
use super::super::ctx::Ctx;
use super::super::intake::{self, Asked};
use super::super::wire::Wire;
use super::attempt::Answer;
use super::client::Client;
use super::passing::{Broken, Receiver, pass_rest, release};
use crate::outcome::Outcome;

/// One response on its way, from after its first bytes to its end.
pub struct Rest {
    client: Client,
    ctx: Ctx,
    answer: Answer,
    gateway: Gateway,
    asked: Asked,
    outcome: Outcome,
}

/// The response goes on without the session.
pub fn hand_over(
    gateway: &Gateway,
    session: &Session,
    ctx: &mut Ctx,
    client: Client,
    answer: Answer,
    outcome: Outcome,
) {
    let asked = intake::asked(session, ctx);
    let handed_over = Ctx::handed_over(ctx.fleet.clone());
    let ctx = std::mem::replace(ctx, handed_over);
    let gateway = gateway.clone();
    connection::leave(Box::new(Rest { client, ctx, answer, gateway, asked, outcome }));
}

impl Rest {
    /// Relays it. Gives the connection back if the response is whole and another request may come on it.
    pub async fn relay(mut self: Box<Self>) -> Option<Wire> {
        let Self { client, ctx, answer, outcome, .. } = &mut *self;
        log::debug!("request {}: its response goes on without a session", ctx.request_id);
        let passed = pass_rest(client, ctx, answer).await;
        let is_whole = passed.is_ok();
        match passed {
            Ok(()) => ctx.settle(*outcome, Instant::now()),
            Err(Broken { outcome: Outcome::ClientGone, .. }) => {
                ctx.client_gone = true;
                ctx.settle(Outcome::ClientGone, Instant::now());
            }
            Err(Broken { outcome, farewell, .. }) => {
                ctx.broke_off = true;
                ctx.settle(outcome, Instant::now());
                let refused = ctx.refused;
                super::not_resumed(ctx, refused);
                if !farewell.is_empty() && client.write(farewell, false).await.is_err() {
                    ctx.client_gone = true;
                }
            }
        }
        let Self { client, mut ctx, answer, gateway, asked, .. } = *self;
        if let Some(member) = ctx.member.as_ref().filter(|_| is_whole) {
            release(&gateway, member, answer.node);
        }
        gateway.finish(asked, client.sent(), &mut ctx);
        is_whole.then(|| client.into_wire())
    }
}
