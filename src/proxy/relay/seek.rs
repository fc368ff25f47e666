//! The wait for a node, on both paths: carries out what [`Journey::seek`] asks for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::{sleep_until, timeout_at};

use super::super::caller::Caller;
use super::super::downstream::client::{First, Left, Presence};
use super::super::gateway::{Gateway, tell};
use crate::fleet::Member;
use crate::journey::{Attempt, Ending, Failure, Journey, Other, Seek};
use crate::retry::Repeat;
use crate::route::{self, Place};

/// The result of a search.
pub(crate) enum Found<H> {
    Attempt(Attempt),
    /// The response that was held back.
    Give(H),
    Stop(Ending),
}

/// The parts of a request that route it anew, if its pool is gone.
pub(crate) enum Routed<'a> {
    /// The attempt loop has its body.
    Whole {
        place: &'a Place,
        head: &'a [u8],
        body: &'a [u8],
        /// The client's name for the model, where the body has another.
        asked: Option<&'a str>,
        method: &'a str,
        /// As nodes get it.
        path: &'a str,
    },
    /// Nobody has it whole: only what the target names is known.
    Unread { place: &'a Place },
}

impl Routed<'_> {
    /// The other pool in a generation to which a reload has moved the request.
    fn other(&self, caller: &Caller, member: &Member) -> Option<Other> {
        match self {
            Self::Whole { place, body, asked, method, path, .. } => {
                caller.other(member, place, (body, *asked), (method, path))
            }
            Self::Unread { place } => caller.other_once(member, place),
        }
    }
}

/// Leases a node for the next attempt, for both paths: the one place where a node is chosen.
pub(crate) async fn seek<H>(
    gateway: &Gateway,
    caller: &mut Caller,
    journey: &mut Journey<H>,
    routed: &Routed<'_>,
    client: &mut impl Presence,
) -> Found<H> {
    let mut is_told = false;
    loop {
        if let Routed::Whole { place, head, body, path, .. } = routed
            && journey.needs_subject()
        {
            journey.set_subject(&route::subject(place, body, path), route::credential(head));
        }
        let found = journey.seek(Instant::now());
        tell(journey);
        match found {
            Seek::Leased(attempt) => {
                caller.asks(journey.member(), attempt.node(), journey.profile().class);
                return Found::Attempt(attempt);
            }
            Seek::Give(fallback) => return Found::Give(fallback),
            Seek::Stop(ending) => return Found::Stop(ending),
            Seek::Reroute => match reroute(gateway, caller, routed) {
                Ok((member, repeat)) => {
                    let other = routed.other(caller, &member);
                    journey.reroute(member, repeat);
                    journey.may_spill_to(other);
                }
                Err(failure) => return Found::Stop(journey.unrouted(failure)),
            },
            Seek::Pause { until } => {
                caller.waits(journey.member(), journey.profile().class);
                let id = &caller.request_id;
                log::debug!(rid:% = id; "request {id}: nodes die one after the other, it pauses");
                if client.attend(First::Client, pin!(sleep_until(until.into()))).await == Err(Left) {
                    return Found::Stop(journey.leave(Instant::now()));
                }
            }
            Seek::Wait { changed, until, why } => {
                if !std::mem::replace(&mut is_told, true) {
                    let pool = journey.member().pool.name();
                    let id = &caller.request_id;
                    log::debug!(rid:% = id, pool:%; "pool {pool}: {why:?}, request {id} waits");
                    caller.waits(journey.member(), journey.profile().class);
                }
                // no matter whether it has changed or the time is over
                let waited = client.attend(First::Client, pin!(timeout_at(until.into(), changed))).await;
                if waited.is_err() {
                    return Found::Stop(journey.leave(Instant::now()));
                }
            }
        }
    }
}

/// Another pool for a request whose pool a reload took away.
fn reroute(gateway: &Gateway, caller: &mut Caller, routed: &Routed<'_>) -> Result<(Member, Repeat), Failure> {
    let fleet = gateway.live.fleet();
    let (member, repeat) = match routed {
        Routed::Whole { place, body, asked, method, path, .. } => {
            let member = caller.pool_again(&fleet, place, Some((body, *asked)))?;
            let model = caller.split_model(place, body, *asked);
            let named = || route::conversation(place, method, path, body).named;
            let member = route::at_home(&fleet, member, model.as_deref(), named);
            (member.clone(), route::repeat(member, method, path))
        }
        Routed::Unread { place } => (caller.pool_again(&fleet, place, None)?.clone(), Repeat::Once),
    };
    caller.fleet = Arc::clone(&fleet);
    Ok((member, repeat))
}
