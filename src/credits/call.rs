//! The words between a member and the ledger.

/// A gateway process; random, so that a restarted one is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// One life of the ledger; random, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A resource: a hash that is the same in all gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub u64);

/// A member's part of a resource. Each number is at most [`Row::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Units that it may use, or uses.
    pub held: u32,
    /// Units in use; of uncapped resources too.
    pub in_use: u32,
    /// Interactive requests that wait for a unit.
    pub urgent: u32,
    /// Other requests that wait for one.
    pub waiting: u32,
}

impl Row {
    /// Far above any limit, and a sum over all members still fits into the 53 bits of Lua's numbers.
    pub const MOST: u32 = 1_000_000_000;

    pub fn demand(&self) -> u32 {
        self.in_use.saturating_add(self.urgent).saturating_add(self.waiting)
    }

    /// It has a use for units and holds none.
    pub fn is_starved(&self) -> bool {
        self.held == 0 && self.demand() > 0
    }
}

/// The sum of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    pub held: u64,
    pub in_use: u64,
    pub urgent: u64,
    pub waiting: u64,
    /// The members that have a use for units and hold none.
    pub starved: u64,
}

impl Total {
    pub fn add(&mut self, row: &Row) {
        self.held += u64::from(row.held);
        self.in_use += u64::from(row.in_use);
        self.urgent += u64::from(row.urgent);
        self.waiting += u64::from(row.waiting);
        self.starved += u64::from(row.is_starved());
    }

    /// The sum without this row, which is in it.
    #[must_use]
    pub fn without(&self, row: &Row) -> Self {
        Self {
            held: self.held.saturating_sub(row.held.into()),
            in_use: self.in_use.saturating_sub(row.in_use.into()),
            urgent: self.urgent.saturating_sub(row.urgent.into()),
            waiting: self.waiting.saturating_sub(row.waiting.into()),
            starved: self.starved.saturating_sub(row.is_starved().into()),
        }
    }
}

/// One resource in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub name: Name,
    /// The units that there are; 0 where there is no limit.
    pub cap: u32,
    /// `held`: the holding now, at most the one that the ledger has.
    pub row: Row,
    /// The holding wanted; at least `row.held`.
    pub want: u32,
}

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fellow {
    pub id: MemberId,
    /// The number of its last call; `None`: it is awaited, for members of this epoch knew it.
    pub seq: Option<u64>,
    /// Where it answers when asked whether it lives.
    pub address: String,
    /// It gives back what it holds and will not claim again.
    pub is_leaving: bool,
}

/// One call of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub id: MemberId,
    /// Higher than in all its calls before.
    pub seq: u64,
    /// The last of its calls that the ledger has answered.
    pub acked: u64,
    /// The ledger that it believes in; `None`: none.
    pub epoch: Option<Epoch>,
    pub op: Op,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Changes rows and reads totals.
    Exchange { asks: Vec<Ask>, interest: Vec<Name>, is_leaving: bool, list: bool },
    /// Enters the ledger of the call's epoch. Without one: begins the next ledger, if the last is lost.
    Register { asks: Vec<Ask>, address: String, knows: Vec<(MemberId, String)>, next: Epoch },
    /// Takes a dead member's rows out, if it has made no call since this one, or ends the waiting for it.
    Bury { whom: MemberId, seq: Option<u64> },
    /// Takes the own rows out.
    Leave,
}

/// The answer to a call; a [`Member`] takes no other than the one to its last call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub id: MemberId,
    pub seq: u64,
    pub reply: Reply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done(Done),
    /// There is no ledger, or it is not what it was.
    Lost,
    /// The ledger is in this epoch, in which the member is not.
    Epoch(Epoch),
    /// The ledger has settled: who enters must not bring more than is in use.
    Settled,
    /// A later call of this member has come before.
    Late,
}

/// A call that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    pub epoch: Option<Epoch>,
    /// Units can be had.
    pub is_settled: bool,
    /// The holding of each ask, in their order.
    pub granted: Vec<u32>,
    /// Those of the names of interest, in their order.
    pub totals: Vec<Total>,
    /// All members and the awaited, where they were asked for.
    pub fellows: Option<Vec<Fellow>>,
}

/// A fellow's answer to the question whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Its own id.
    Itself,
    /// Another id.
    Another,
    /// The connection was refused.
    Refused,
    /// Nothing, in time, or something else.
    Nothing,
}

/// What to do about a silent fellow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Lives,
    /// Its process has ended.
    Dead,
    /// Nothing has been heard of it for `forget_after`.
    Forgotten,
    Unknown,
}
