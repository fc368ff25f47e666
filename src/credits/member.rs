//! A member's part: what it holds, what it tells the ledger and what it makes of the answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call::{Answer, Ask, Call, Done, Epoch, MemberId, Name, Op, Reply, Row, Total};
use super::share::{Aim, aim};
use super::watch::Watch;

/// The most idle resources whose totals are asked at a time: a gateway may have ten thousand keys that nobody uses.
const IDLE_MOST: usize = 1000;

/// The own state of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub name: Name,
    /// The units that there are; `None`: as many as one likes, and only the use is told.
    pub cap: Option<u32>,
    pub in_use: u32,
    /// Interactive requests that wait for a unit.
    pub urgent: u32,
    /// Other requests that wait for one.
    pub waiting: u32,
    /// The most units that could be in use here now.
    pub usable: u32,
    /// The others' use is wanted in each exchange: nodes are chosen by it.
    pub is_node: bool,
}

/// A change for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub name: Name,
    /// The units that may be in use here; `None`: without limit.
    pub limit: Option<u32>,
    /// Units in use by all others.
    pub elsewhere: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The longest time without a call.
    pub heartbeat: Duration,
    /// Units of a silent fellow that cannot be asked stay its own for so long.
    pub forget_after: Duration,
}

/// A member's relation to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds nothing, for it has never been in.
    Never,
    /// It goes on with what it holds.
    Outside,
    /// It is in, and nobody gets a unit yet.
    Settling,
    Joined,
}

/// One gateway's part of the credits.
#[derive(Debug)]
pub struct Member {
    id: MemberId,
    address: String,
    settings: Settings,
    seq: u64,
    acked: u64,
    state: State,
    has_been_in: bool,
    is_leaving: bool,
    holdings: BTreeMap<Name, Holding>,
    sent: Option<Sent>,
    listed_at: Option<Instant>,
    /// The last of the idle resources of which the totals were asked.
    looked_at: Name,
    pub watch: Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `epoch`: that of the ledger, as far as is known. `shrinks`: it must bring no idle units.
    Outside {
        epoch: Option<Epoch>,
        shrinks: bool,
    },
    In {
        epoch: Epoch,
        is_settled: bool,
    },
}

#[derive(Debug, Clone, Default)]
struct Holding {
    cap: Option<u32>,
    /// The units that may be in use here. Where more are, they are not used again.
    limit: u32,
    /// The row that the ledger has; `None`: not known for sure.
    told: Option<Row>,
    others: Total,
    is_needed: bool,
}

/// The call without an answer.
#[derive(Debug)]
struct Sent {
    seq: u64,
    asks: Vec<Ask>,
    interest: Vec<Name>,
    registers: bool,
}

impl Member {
    pub fn new(id: MemberId, address: String, settings: Settings) -> Self {
        Self {
            id,
            address,
            settings,
            seq: 0,
            acked: 0,
            state: State::Outside { epoch: None, shrinks: false },
            has_been_in: false,
            is_leaving: false,
            holdings: BTreeMap::new(),
            sent: None,
            listed_at: None,
            looked_at: Name(0),
            watch: Watch::new(settings.forget_after),
        }
    }

    pub fn id(&self) -> MemberId {
        self.id
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address at which it answers whether it lives, from its next entry on.
    pub fn set_address(&mut self, address: String) {
        self.address = address;
    }

    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.watch.set_forget_after(settings.forget_after);
    }

    pub fn standing(&self) -> Standing {
        match self.state {
            State::Outside { .. } if self.has_been_in => Standing::Outside,
            State::Outside { .. } => Standing::Never,
            State::In { is_settled: false, .. } => Standing::Settling,
            State::In { is_settled: true, .. } => Standing::Joined,
        }
    }

    /// All that claim units, this one too.
    pub fn members(&self) -> u32 {
        self.watch.claiming().saturating_add(1)
    }

    /// The units that may be in use here.
    pub fn limit(&self, name: Name) -> Option<u32> {
        self.holdings.get(&name).map(|holding| holding.limit)
    }

    /// From now on it gives everything back as it is freed, save for requests that wait.
    pub fn prepare_to_leave(&mut self) {
        self.is_leaving = true;
    }

    /// The next call, if one is due. `credit` lowers the limit of a resource, and returns the units that may be in use from then on: the
    /// limit, or more where more are in use.
    pub fn call(
        &mut self,
        needs: &[Need],
        mut credit: impl FnMut(Allowance) -> u32,
        next: Epoch,
        now: Instant,
    ) -> Option<Call> {
        self.holdings.values_mut().for_each(|holding| holding.is_needed = false);
        for need in needs {
            let holding = self.holdings.entry(need.name).or_default();
            (holding.cap, holding.is_needed) = (need.cap, true);
        }
        match self.state {
            State::Outside { epoch, shrinks } => {
                let asks = needs.iter().map(|need| self.bring(need, shrinks, &mut credit)).collect();
                self.holdings.retain(|_, holding| holding.is_needed);
                let knows = self.watch.known();
                let address = self.address.clone();
                Some(self.send(epoch, Op::Register { asks, address, knows, next }))
            }
            State::In { epoch, is_settled } => {
                let is_listing = self
                    .listed_at
                    .is_none_or(|at| now.saturating_duration_since(at) >= self.settings.heartbeat);
                let mut asks = Vec::new();
                let mut is_worth = is_listing || !is_settled;
                for need in needs {
                    let (ask, is_news) = self.ask(need, is_settled, &mut credit);
                    is_worth |= is_news
                        || need.is_node && row(need, self.limit(need.name).unwrap_or(0)) != Row::default();
                    asks.extend(ask);
                }
                asks.extend(self.gone());
                if !is_worth && asks.is_empty() {
                    return None;
                }
                let interest = self.interest(needs, is_listing);
                let op = Op::Exchange { asks, interest, is_leaving: self.is_leaving, list: is_listing };
                Some(self.send(Some(epoch), op))
            }
        }
    }

    /// The resources whose totals are asked: nodes always, those in use now and then, the idle ones by turns.
    fn interest(&mut self, needs: &[Need], is_listing: bool) -> Vec<Name> {
        let is_busy = |need: &&Need| need.is_node || is_listing && row(need, 0).demand() > 0;
        let mut interest: Vec<_> = needs.iter().filter(is_busy).map(|need| need.name).collect();
        if is_listing {
            let mut idle: Vec<_> = needs.iter().filter(|need| !is_busy(need)).map(|need| need.name).collect();
            idle.sort_unstable();
            let first = idle.partition_point(|name| *name <= self.looked_at);
            idle.rotate_left(first);
            idle.truncate(IDLE_MOST);
            self.looked_at = idle.last().copied().unwrap_or(self.looked_at);
            interest.append(&mut idle);
        }
        interest
    }

    /// By the last answer, others need what it holds.
    pub fn owes(&self, needs: &[Need]) -> bool {
        let members = self.members();
        let owes = |need: &Need| {
            let (Some(cap), Some(holding)) = (need.cap, self.holdings.get(&need.name)) else { return false };
            holding.aim(cap, need, members).keep < holding.limit
        };
        self.standing() == Standing::Joined && !self.is_leaving && needs.iter().any(owes)
    }

    /// The call that takes a dead fellow out.
    pub fn bury(&mut self, whom: MemberId, seq: Option<u64>) -> Option<Call> {
        let State::In { epoch, .. } = self.state else { return None };
        Some(self.send(Some(epoch), Op::Bury { whom, seq }))
    }

    /// The last call, after the last request has ended.
    pub fn leave(&mut self) -> Option<Call> {
        let State::In { epoch, .. } = self.state else { return None };
        Some(self.send(Some(epoch), Op::Leave))
    }

    /// No answer came, or one that makes no sense: nobody knows whether the call was carried out.
    pub fn failed(&mut self) {
        for ask in self.sent.take().into_iter().flat_map(|sent| sent.asks) {
            if let Some(holding) = self.holdings.get_mut(&ask.name) {
                holding.told = None;
            }
        }
    }

    /// Takes in the answer to the last call. `None`: it is none. Else the changes; call again at once where the standing is still
    /// [`Standing::Outside`] or [`Standing::Never`].
    pub fn accept(&mut self, answer: &Answer, now: Instant) -> Option<Vec<Allowance>> {
        let sent = self.sent.as_ref()?;
        if answer.id != self.id || answer.seq != sent.seq {
            return None;
        }
        let done = match &answer.reply {
            Reply::Done(done) => done,
            Reply::Late => return None,
            other => {
                self.refused(other);
                return Some(Vec::new());
            }
        };
        if !is_for(sent, done) {
            return None;
        }
        let sent = self.sent.take()?;
        self.acked = sent.seq;
        self.enter(&sent, done, now);
        let mut changed = Vec::new();
        for (ask, granted) in sent.asks.iter().zip(&done.granted) {
            self.granted(ask, *granted, &mut changed);
        }
        for (name, total) in sent.interest.iter().zip(&done.totals) {
            let Some(holding) = self.holdings.get_mut(name) else { continue };
            let others = total.without(&holding.told.unwrap_or_default());
            if holding.others.in_use != others.in_use {
                changed.push(*name);
            }
            holding.others = others;
        }
        changed.sort_unstable();
        changed.dedup();
        Some(changed.iter().filter_map(|name| self.allowance(*name)).collect())
    }

    /// Everything as it stands, for resources that may have lost what they were told.
    pub fn allowance(&self, name: Name) -> Option<Allowance> {
        self.holdings.get(&name).map(|holding| holding.allowance(name))
    }

    fn send(&mut self, epoch: Option<Epoch>, op: Op) -> Call {
        self.seq += 1;
        let (asks, interest) = match &op {
            Op::Exchange { asks, interest, .. } => (asks.clone(), interest.clone()),
            Op::Register { asks, .. } => (asks.clone(), Vec::new()),
            Op::Bury { .. } | Op::Leave => (Vec::new(), Vec::new()),
        };
        let registers = matches!(op, Op::Register { .. });
        self.sent = Some(Sent { seq: self.seq, asks, interest, registers });
        Call { id: self.id, seq: self.seq, acked: self.acked, epoch, op }
    }

    /// A row as it is brought into a ledger.
    fn bring(&mut self, need: &Need, shrinks: bool, credit: &mut impl FnMut(Allowance) -> u32) -> Ask {
        let Some(holding) = self.holdings.get_mut(&need.name).filter(|_| need.cap.is_some()) else {
            return Ask { name: need.name, cap: 0, row: row(need, 0), want: 0 };
        };
        let mut told = row(need, holding.limit);
        if shrinks {
            holding.limit = 0;
            told.held = credit(holding.allowance(need.name));
            told.in_use = told.held;
        } else {
            told.held = credit(holding.allowance(need.name));
        }
        holding.told = None;
        Ask { name: need.name, cap: need.cap.unwrap_or(0), row: told, want: told.held }
    }

    /// A row in an exchange, if it has changed or more is wanted; and if that is worth a call.
    fn ask(
        &mut self,
        need: &Need,
        is_settled: bool,
        credit: &mut impl FnMut(Allowance) -> u32,
    ) -> (Option<Ask>, bool) {
        let members = self.members();
        let is_leaving = self.is_leaving;
        let Some(holding) = self.holdings.get_mut(&need.name) else { return (None, false) };
        let Some(cap) = need.cap else {
            let told = row(need, 0);
            let is_news = holding.told != Some(told);
            return (is_news.then_some(Ask { name: need.name, cap: 0, row: told, want: 0 }), is_news);
        };
        let aim = match is_settled {
            true => holding.aim(cap, need, members),
            // nobody could take what is given back
            false => Aim { claim: holding.limit, keep: holding.limit },
        };
        // for the requests that are there, and for no more to come
        let most = if is_leaving { row(need, 0).demand() } else { u32::MAX };
        let aim = Aim { claim: aim.claim.min(most), keep: aim.keep.min(most) };
        let mut held = holding.limit;
        if aim.keep < holding.limit {
            holding.limit = aim.keep;
            held = credit(holding.allowance(need.name));
        } else if holding.told.is_none_or(|told| told.held > holding.limit) || need.in_use > holding.limit {
            // more than the limit may still be in use, or no longer
            held = credit(holding.allowance(need.name));
        }
        let told = row(need, held);
        // who gives back lets others go first
        let gives = holding.told.is_some_and(|told| held < told.held);
        let wants = is_settled && aim.claim > held && held == holding.limit && !gives;
        let want = if wants { aim.claim } else { held };
        let others = holding.others.held.saturating_add(held.into());
        let is_news = holding.told != Some(told) || wants && others < u64::from(cap);
        ((is_news || wants).then_some(Ask { name: need.name, cap, row: told, want }), is_news)
    }

    /// Rows of resources that are no more.
    fn gone(&self) -> Vec<Ask> {
        let gone = self.holdings.iter().filter(|(_, holding)| !holding.is_needed);
        gone.map(|(name, _)| Ask { name: *name, cap: 0, row: Row::default(), want: 0 }).collect()
    }

    fn refused(&mut self, reply: &Reply) {
        self.failed();
        let known = match self.state {
            State::Outside { epoch, .. } => epoch,
            State::In { epoch, .. } => Some(epoch),
        };
        self.state = match reply {
            Reply::Epoch(epoch) => State::Outside { epoch: Some(*epoch), shrinks: false },
            Reply::Settled => State::Outside { epoch: known, shrinks: true },
            _ => State::Outside { epoch: None, shrinks: false },
        };
    }

    fn enter(&mut self, sent: &Sent, done: &Done, now: Instant) {
        if let Some(epoch) = done.epoch {
            self.state = State::In { epoch, is_settled: done.is_settled };
        }
        self.has_been_in |= sent.registers;
        if let Some(fellows) = &done.fellows {
            let others: Vec<_> = fellows.iter().filter(|fellow| fellow.id != self.id).cloned().collect();
            self.watch.listed(&others, done.is_settled, now);
            self.listed_at = Some(now);
        }
    }

    fn granted(&mut self, ask: &Ask, granted: u32, changed: &mut Vec<Name>) {
        let Some(holding) = self.holdings.get_mut(&ask.name) else { return };
        holding.told = Some(Row { held: granted, ..ask.row });
        let more = granted - ask.row.held;
        if more > 0 {
            holding.limit += more;
            changed.push(ask.name);
        }
        if !holding.is_needed {
            self.holdings.remove(&ask.name);
        }
    }
}

impl Holding {
    fn allowance(&self, name: Name) -> Allowance {
        let elsewhere = u32::try_from(self.others.in_use).unwrap_or(u32::MAX);
        Allowance { name, limit: self.cap.map(|_| self.limit), elsewhere }
    }

    fn aim(&self, cap: u32, need: &Need, members: u32) -> Aim {
        let Aim { claim, keep } = aim(cap, &row(need, self.limit), &self.others, members);
        let usable = need.usable.max(need.in_use);
        Aim { claim: claim.min(usable), keep: keep.min(usable) }
    }
}

/// The answer has the form that this call must get.
fn is_for(sent: &Sent, done: &Done) -> bool {
    let fits = |(ask, granted): (&Ask, &u32)| (ask.row.held..=ask.want).contains(granted);
    done.granted.len() == sent.asks.len()
        && done.totals.len() == sent.interest.len()
        && sent.asks.iter().zip(&done.granted).all(fits)
}

fn row(need: &Need, held: u32) -> Row {
    let [held, in_use, urgent, waiting] =
        [held, need.in_use, need.urgent, need.waiting].map(|units| units.min(Row::MOST));
    Row { held, in_use, urgent, waiting }
}
