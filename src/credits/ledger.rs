//! The ledger as a value: the same decisions as the script that Redis runs, for tests and simulations.

use std::collections::BTreeMap;

use super::call::{Answer, Ask, Call, Done, Epoch, Fellow, MemberId, Name, Op, Reply, Row, Total};

/// The books of one epoch, or none.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    books: Option<Books>,
    terms: Terms,
}

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// An epoch settles when it is so old.
    pub settle_ms: u64,
    /// A newcomer gets no unit before all know of it that have made a call within this time.
    pub known_ms: u64,
}

#[derive(Debug, Clone)]
struct Books {
    epoch: Epoch,
    born_ms: u64,
    is_settled: bool,
    members: BTreeMap<MemberId, Entry>,
    awaited: BTreeMap<MemberId, String>,
    /// `None`: lost.
    totals: Option<BTreeMap<Name, Total>>,
    /// Entries so far.
    entries: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    seq: u64,
    /// The time of its last call.
    last_ms: u64,
    /// Its own number among the entries; 0: all know of it.
    entered: u64,
    /// The entries of which it knows.
    knows: u64,
    address: String,
    is_leaving: bool,
    /// `None`: lost.
    rows: Option<BTreeMap<Name, Row>>,
}

impl Ledger {
    pub fn new(terms: Terms) -> Self {
        Self { books: None, terms }
    }

    /// Carries out a call at this time of the ledger's own clock.
    pub fn call(&mut self, call: &Call, now_ms: u64) -> Answer {
        let reply = match self.reply(call, now_ms) {
            Ok(done) => Reply::Done(done),
            Err(reply) => reply,
        };
        Answer { id: call.id, seq: call.seq, reply }
    }

    fn reply(&mut self, call: &Call, now_ms: u64) -> Result<Done, Reply> {
        if self.books.as_ref().is_none_or(|books| books.totals.is_none()) {
            self.books = match (&call.op, call.epoch) {
                (Op::Register { next, .. }, None) => Some(Books::begin(*next, now_ms)),
                _ => return Err(Reply::Lost),
            };
        } else if let Some(books) = &self.books
            && call.epoch != Some(books.epoch)
        {
            return Err(Reply::Epoch(books.epoch));
        }
        let Some(books) = &mut self.books else { return Err(Reply::Lost) };
        let done = books.known(call).and_then(|()| {
            books.settle(self.terms.settle_ms, now_ms);
            books.carry_out(call, self.terms, now_ms)
        });
        match done {
            Err(Reply::Lost) => self.books = None,
            Err(_) => {}
            Ok(_) => books.settle(self.terms.settle_ms, now_ms),
        }
        let is_settled = self.books.as_ref().is_some_and(|books| books.is_settled);
        done.map(|done| Done { is_settled, ..done })
    }

    /// All is gone, as after a restart.
    pub fn lose(&mut self) {
        self.books = None;
    }

    /// The totals are gone, as after an eviction.
    pub fn lose_totals(&mut self) {
        if let Some(books) = &mut self.books {
            books.totals = None;
        }
    }

    /// A member's rows are gone.
    pub fn lose_rows(&mut self, of: MemberId) {
        if let Some(entry) = self.books.as_mut().and_then(|books| books.members.get_mut(&of)) {
            entry.rows = None;
        }
    }

    /// The sums that it keeps, if they are what the rows add up to.
    pub fn audit(&self) -> Result<BTreeMap<Name, Total>, String> {
        let Some(Books { totals: Some(totals), members, .. }) = &self.books else {
            return Ok(BTreeMap::new());
        };
        let mut sums: BTreeMap<Name, Total> = BTreeMap::new();
        for entry in members.values() {
            let rows = entry.rows.as_ref().ok_or("rows are lost")?;
            rows.iter().for_each(|(name, row)| sums.entry(*name).or_default().add(row));
        }
        if *totals == sums { Ok(sums) } else { Err(format!("kept: {totals:?}; they add up to {sums:?}")) }
    }
}

impl Books {
    fn begin(epoch: Epoch, now_ms: u64) -> Self {
        Self {
            epoch,
            born_ms: now_ms,
            is_settled: false,
            members: BTreeMap::new(),
            awaited: BTreeMap::new(),
            totals: Some(BTreeMap::new()),
            entries: 0,
        }
    }

    /// The member may call, and the books are what it knows of them.
    fn known(&self, call: &Call) -> Result<(), Reply> {
        let Some(entry) = self.members.get(&call.id) else {
            let enters = matches!(call.op, Op::Register { .. });
            return if enters { Ok(()) } else { Err(Reply::Epoch(self.epoch)) };
        };
        if entry.seq >= call.seq {
            return Err(Reply::Late);
        }
        if entry.seq < call.acked || entry.rows.is_none() {
            return Err(Reply::Lost);
        }
        Ok(())
    }

    fn settle(&mut self, settle_ms: u64, now_ms: u64) {
        if !self.is_settled {
            // a clock that was set back begins again
            self.born_ms = self.born_ms.min(now_ms);
            self.is_settled = self.awaited.is_empty() && now_ms - self.born_ms >= settle_ms;
        }
    }

    fn carry_out(&mut self, call: &Call, terms: Terms, now_ms: u64) -> Result<Done, Reply> {
        let mut done = Done { epoch: Some(self.epoch), ..Done::default() };
        match &call.op {
            Op::Exchange { asks, interest, is_leaving, list } => {
                let may_claim = self.is_settled && self.is_known(call.id, terms, now_ms);
                done.granted = self.exchange(call.id, asks, may_claim)?;
                let entries = self.entries;
                if let Some(entry) = self.members.get_mut(&call.id) {
                    (entry.seq, entry.last_ms, entry.is_leaving) = (call.seq, now_ms, *is_leaving);
                    if may_claim {
                        entry.entered = 0;
                    }
                    if *list {
                        entry.knows = entries;
                    }
                }
                let totals = self.totals.as_ref();
                let total = |name| totals.and_then(|totals| totals.get(name)).copied().unwrap_or_default();
                done.totals = interest.iter().map(total).collect();
                done.fellows = list.then(|| self.fellows());
            }
            Op::Register { asks, address, knows, .. } => {
                done.granted = self.register(call, asks, address, now_ms)?;
                if !self.is_settled {
                    let missing = knows.iter().filter(|(id, _)| !self.members.contains_key(id));
                    let missing: Vec<_> = missing.cloned().collect();
                    missing.into_iter().for_each(|(id, address)| {
                        self.awaited.entry(id).or_insert(address);
                    });
                }
                done.fellows = Some(self.fellows());
            }
            Op::Bury { whom, seq } => {
                self.bury(*whom, *seq)?;
                if let Some(entry) = self.members.get_mut(&call.id) {
                    (entry.seq, entry.last_ms) = (call.seq, now_ms);
                }
            }
            Op::Leave => self.remove(call.id)?,
        }
        Ok(done)
    }

    fn row(&self, of: MemberId, name: Name) -> Row {
        let rows = self.members.get(&of).and_then(|entry| entry.rows.as_ref());
        rows.and_then(|rows| rows.get(&name)).copied().unwrap_or_default()
    }

    /// Who knows of a holding will wait for it in the next epoch. So there must be no holding of which only its holder knows.
    fn is_known(&self, id: MemberId, terms: Terms, now_ms: u64) -> bool {
        let Some(own) = self.members.get(&id) else { return false };
        let knows = |entry: &Entry| {
            entry.knows >= own.entered || now_ms.saturating_sub(entry.last_ms) > terms.known_ms
        };
        own.entered == 0 || self.members.iter().all(|(other, entry)| *other == id || knows(entry))
    }

    fn exchange(&mut self, id: MemberId, asks: &[Ask], may_claim: bool) -> Result<Vec<u32>, Reply> {
        // a holding that the ledger has never granted
        if asks.iter().any(|ask| ask.row.held > self.row(id, ask.name).held) {
            return Err(Reply::Lost);
        }
        let grant = |ask| self.grant(id, ask, may_claim);
        Ok(asks.iter().map(grant).collect())
    }

    /// Writes the row, with as much more as is wanted and free.
    fn grant(&mut self, id: MemberId, ask: &Ask, may_claim: bool) -> u32 {
        let old = self.row(id, ask.name);
        let total = self.totals.as_ref().and_then(|totals| totals.get(&ask.name)).copied();
        let others = total.unwrap_or_default().without(&old).held;
        let free = u64::from(ask.cap).saturating_sub(others + u64::from(ask.row.held));
        let more = u64::from(ask.want.saturating_sub(ask.row.held)).min(free);
        let more = if may_claim { more as u32 } else { 0 };
        self.write(id, ask.name, Row { held: ask.row.held + more, ..ask.row });
        ask.row.held + more
    }

    fn write(&mut self, id: MemberId, name: Name, row: Row) {
        let rows = self.members.get_mut(&id).and_then(|entry| entry.rows.as_mut());
        let (Some(rows), Some(totals)) = (rows, &mut self.totals) else { return };
        let old = if row == Row::default() { rows.remove(&name) } else { rows.insert(name, row) };
        let total = totals.entry(name).or_default();
        *total = total.without(&old.unwrap_or_default());
        total.add(&row);
        if *total == Total::default() {
            totals.remove(&name);
        }
    }

    fn register(&mut self, call: &Call, asks: &[Ask], address: &str, now_ms: u64) -> Result<Vec<u32>, Reply> {
        let brings = |ask: &Ask| ask.row.held > ask.row.in_use.max(self.row(call.id, ask.name).held);
        if self.is_settled && asks.iter().any(brings) {
            return Err(Reply::Settled);
        }
        self.remove(call.id)?;
        self.awaited.remove(&call.id);
        self.entries += 1;
        let entry = Entry {
            seq: call.seq,
            last_ms: now_ms,
            entered: self.entries,
            knows: self.entries,
            address: address.to_owned(),
            is_leaving: false,
            rows: Some(BTreeMap::new()),
        };
        self.members.insert(call.id, entry);
        asks.iter().for_each(|ask| self.write(call.id, ask.name, ask.row));
        Ok(asks.iter().map(|ask| ask.row.held).collect())
    }

    fn bury(&mut self, whom: MemberId, seq: Option<u64>) -> Result<(), Reply> {
        match seq {
            None => {
                self.awaited.remove(&whom);
                Ok(())
            }
            Some(seq) if self.members.get(&whom).is_some_and(|entry| entry.seq == seq) => self.remove(whom),
            Some(_) => Ok(()),
        }
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Reply> {
        let Some(entry) = self.members.get(&id) else { return Ok(()) };
        let Some(rows) = &entry.rows else { return Err(Reply::Lost) };
        let names: Vec<Name> = rows.keys().copied().collect();
        names.into_iter().for_each(|name| self.write(id, name, Row::default()));
        self.members.remove(&id);
        Ok(())
    }

    fn fellows(&self) -> Vec<Fellow> {
        let members = self.members.iter().map(|(id, entry)| Fellow {
            id: *id,
            seq: Some(entry.seq),
            address: entry.address.clone(),
            is_leaving: entry.is_leaving,
        });
        let awaited = self.awaited.iter().map(|(id, address)| Fellow {
            id: *id,
            seq: None,
            address: address.clone(),
            is_leaving: false,
        });
        members.chain(awaited).collect()
    }
}
