//! Silent fellows: whom to ask whether it lives, and what the answer proves.
//!
//! A member without calls may be dead; or it is only cut off from the ledger, with streams that run for hours, and its units must stay
//! its own. So the others ask it directly. A refused connection proves that its process has ended only where the address is known to
//! lead to it: if it has answered there before, or if the address is this member's own. Elsewhere the same address may be
//! another machine's, or a firewall refuses in its name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call::{Fellow, Heard, MemberId, Verdict};

/// Silence after which a fellow is asked: members call at least twice a second.
const SILENT: Duration = Duration::from_secs(2);
/// Pause between two questions to the same fellow.
const PAUSE: Duration = Duration::from_millis(500);
/// The same while it is only to be known whether it answers.
const ACQUAINT_PAUSE: Duration = Duration::from_secs(10);

/// All fellows that this member knows.
#[derive(Debug)]
pub struct Watch {
    fellows: BTreeMap<MemberId, Known>,
    forget_after: Duration,
    /// The own host's address, if others see the same.
    own: Option<String>,
    /// The ledger's last list.
    last_list: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    address: String,
    /// Of its last call; `None`: it is awaited.
    seq: Option<u64>,
    /// No call since, as far as this member has seen.
    since: Instant,
    /// It has answered at this address.
    is_proven: bool,
    asked: Option<Instant>,
    /// The last answer, and its time.
    heard: Option<(Heard, Instant)>,
    is_leaving: bool,
    /// It is in the ledger's list.
    is_listed: bool,
}

/// A question to a fellow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub id: MemberId,
    pub address: String,
}

/// A fellow, for people to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: MemberId,
    pub address: String,
    pub silent: Duration,
    pub is_silent: bool,
    /// It has answered the last question.
    pub answers: bool,
}

/// What an answer proves, and the fellow's last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub verdict: Verdict,
    pub seq: Option<u64>,
    pub silent: Duration,
}

impl Watch {
    pub fn new(forget_after: Duration) -> Self {
        Self { fellows: BTreeMap::new(), forget_after, own: None, last_list: None }
    }

    /// The host part of this member's own address as others see it.
    pub fn set_own(&mut self, host: Option<String>) {
        self.own = host;
    }

    pub fn set_forget_after(&mut self, forget_after: Duration) {
        self.forget_after = forget_after;
    }

    /// Takes in the ledger's list. `is_whole`: who is not on it is gone; else it may only not have come back.
    pub fn listed(&mut self, list: &[Fellow], is_whole: bool, now: Instant) {
        let gap =
            self.last_list.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        for known in self.fellows.values_mut() {
            known.is_listed = false;
            if gap >= SILENT {
                // nobody has been seen meanwhile: that is no silence of theirs
                known.since = now;
            }
        }
        for fellow in list {
            let known = self.fellows.entry(fellow.id).or_insert_with(|| Known::new(fellow, now));
            if known.address != fellow.address && fellow.seq.is_some() {
                *known = Known::new(fellow, now);
            }
            if known.seq != fellow.seq {
                (known.seq, known.since) = (fellow.seq, now);
            }
            known.is_leaving = fellow.is_leaving;
            known.is_listed = true;
        }
        if is_whole {
            self.fellows.retain(|_, known| known.is_listed);
        }
    }

    /// The fellows with their addresses, for a ledger that must wait for them.
    pub fn known(&self) -> Vec<(MemberId, String)> {
        self.fellows.iter().map(|(id, known)| (*id, known.address.clone())).collect()
    }

    /// Fellows that claim units.
    pub fn claiming(&self) -> u32 {
        let claiming = self.fellows.values().filter(|known| !known.is_leaving);
        u32::try_from(claiming.count()).unwrap_or(u32::MAX)
    }

    /// All of them, for people to see.
    pub fn seen(&self, now: Instant) -> Vec<Seen> {
        let seen = self.fellows.iter().map(|(id, known)| Seen {
            id: *id,
            address: known.address.clone(),
            silent: now.saturating_duration_since(known.since),
            is_silent: known.is_silent(now),
            answers: known.heard.is_some_and(|(heard, _)| heard == Heard::Itself),
        });
        seen.collect()
    }

    /// The fellows to ask now.
    pub fn questions(&mut self, most: usize, now: Instant) -> Vec<Question> {
        let due = self.fellows.iter_mut().filter(|(_, known)| known.is_due(now)).take(most);
        due.map(|(id, known)| {
            known.asked = Some(now);
            Question { id: *id, address: known.address.clone() }
        })
        .collect()
    }

    /// Takes in the answer to a question; `None`: nobody knows this fellow any more.
    pub fn heard(&mut self, id: MemberId, heard: Heard, now: Instant) -> Option<Found> {
        let forget_after = self.forget_after;
        let own = self.own.as_deref();
        let known = self.fellows.get_mut(&id)?;
        known.heard = Some((heard, now));
        known.is_proven |= heard == Heard::Itself;
        let silent = now.saturating_duration_since(known.since);
        let leads_there = known.is_proven || own.is_some() && own == host(&known.address);
        let verdict = match heard {
            Heard::Itself => Verdict::Lives,
            _ if !known.is_silent(now) => Verdict::Unknown,
            Heard::Another | Heard::Refused if leads_there => Verdict::Dead,
            _ if silent >= forget_after => Verdict::Forgotten,
            _ => Verdict::Unknown,
        };
        Some(Found { verdict, seq: known.seq, silent })
    }

    /// It is out of the ledger.
    pub fn forget(&mut self, id: MemberId) {
        self.fellows.remove(&id);
    }

    /// Every fellow has answered within this time. One that has not may be well, without being able to reach this member either: it
    /// will take this one for dead.
    pub fn all_heard(&self, within: Duration, now: Instant) -> bool {
        let fresh = |known: &Known| {
            known.heard.is_some_and(|(heard, at)| {
                heard == Heard::Itself && now.saturating_duration_since(at) < within
            })
        };
        self.fellows.values().all(fresh)
    }
}

impl Known {
    fn new(fellow: &Fellow, now: Instant) -> Self {
        Self {
            address: fellow.address.clone(),
            seq: fellow.seq,
            since: now,
            is_proven: false,
            asked: None,
            heard: None,
            is_leaving: fellow.is_leaving,
            is_listed: true,
        }
    }

    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SILENT
    }

    fn is_due(&self, now: Instant) -> bool {
        let pause = match self.is_silent(now) {
            true => PAUSE,
            false if self.is_proven => return false,
            false => ACQUAINT_PAUSE,
        };
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pause)
    }
}

/// `None`: the ledger does not see the address, so that another machine may have the same.
fn host(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host.trim_matches(['[', ']']))
}
