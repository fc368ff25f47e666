//! One round: what this gateway needs, a call, and what the answer allows.

use std::sync::Arc;
use std::time::Instant;

use super::gather::Gathered;
use super::link::Link;
use super::view::View;
use super::wire::Keys;
use crate::credits::{Answer, Call, Epoch, Member, MemberId, Need, Reply, Standing};
use crate::live::Live;

/// Calls of one round: to learn of the ledger, to enter it without idle units, and to give what others need.
const CALLS_MOST: usize = 5;

/// The parts that all rounds share.
pub(super) struct Round<'a> {
    pub live: &'a Arc<Live>,
    pub keys: &'a Keys,
    pub view: &'a View<'a>,
}

impl Round<'_> {
    /// `true`: an interactive request waits here, or one on a node of which this gateway has nothing.
    pub(super) async fn go(&self, member: &mut Member, link: &mut Link) -> Result<bool, String> {
        let (mut has_given, mut is_urgent) = (false, false);
        for _ in 0..CALLS_MOST {
            let now = Instant::now();
            let gathered = Gathered::of(self.live, now);
            gathered.allow(&gathered.forgotten(member), now);
            is_urgent = gathered.needs.iter().any(|need| is_urgent_need(need, member));
            let credit = |allowance| gathered.credit(allowance, now);
            let Some(call) = member.call(&gathered.needs, credit, Epoch(fastrand::u64(1..)), now) else {
                return Ok(is_urgent);
            };
            let answer = self.ask(&call, link).await?;
            let now = Instant::now();
            let allowances =
                member.accept(&answer, now).ok_or("Redis answers something else than it was asked")?;
            gathered.allow(&allowances, now);
            self.view.answered(member, now);
            let owes = member.owes(&gathered.needs) && !has_given;
            if matches!(member.standing(), Standing::Joined | Standing::Settling) && !owes {
                return Ok(is_urgent);
            }
            has_given |= owes;
        }
        Ok(is_urgent)
    }

    async fn ask(&self, call: &Call, link: &mut Link) -> Result<Answer, String> {
        let answer = link.call(self.keys, call).await?;
        if answer.reply == Reply::Lost && call.epoch.is_some() {
            self.view.lost();
        }
        Ok(answer)
    }

    /// Takes a dead fellow out.
    pub(super) async fn bury(
        &self,
        member: &mut Member,
        link: &mut Link,
        whom: MemberId,
        seq: Option<u64>,
    ) -> bool {
        let Some(call) = member.bury(whom, seq) else { return false };
        let is_done = self.carry(member, &call, link).await;
        if is_done {
            member.watch.forget(whom);
        }
        is_done
    }

    /// Takes this gateway out.
    pub(super) async fn leave(&self, member: &mut Member, link: &mut Link) {
        if let Some(call) = member.leave() {
            self.carry(member, &call, link).await;
        }
    }

    async fn carry(&self, member: &mut Member, call: &Call, link: &mut Link) -> bool {
        let answer = self.ask(call, link).await;
        let is_done = answer.as_ref().is_ok_and(|answer| matches!(answer.reply, Reply::Done(_)));
        match answer {
            Ok(answer) if member.accept(&answer, Instant::now()).is_some() => is_done,
            _ => {
                member.failed();
                false
            }
        }
    }
}

fn is_urgent_need(need: &Need, member: &Member) -> bool {
    let has_none = || member.limit(need.name).is_none_or(|limit| limit == 0);
    need.is_node && need.cap.is_some() && (need.urgent > 0 || need.waiting > 0 && has_none())
}
