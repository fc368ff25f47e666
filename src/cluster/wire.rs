//! Calls as arguments of the script, and its answers as values. An answer that does not fit in every part is none.

use redis::{Script, ScriptInvocation, Value};

use crate::credits::{Answer, Ask, Call, Done, Epoch, Fellow, MemberId, Op, Reply, Row, Terms, Total};

/// The ledger in Redis.
#[derive(Debug)]
pub struct Keys {
    /// A hash tag, so that all keys are in one slot.
    prefix: String,
    terms: Terms,
    script: Script,
}

/// All is forgotten that nobody has touched for so long.
const TTL_MS: u64 = 24 * 3600 * 1000;
const ADDRESS_BYTES_MOST: usize = 64;

impl Keys {
    /// `name`: that of the cluster.
    pub fn new(name: &str, terms: Terms) -> Self {
        let script = Script::new(include_str!("ledger.lua"));
        Self { prefix: format!("{{evenkeel:{name}}}"), terms, script }
    }

    /// The call as Redis gets it.
    pub fn invocation(&self, call: &Call) -> ScriptInvocation<'_> {
        let mut script = self.script.prepare_invoke();
        script.key(self.key("members")).key(self.key("totals")).key(self.rows(call.id));
        let op = match &call.op {
            Op::Exchange { .. } => "x",
            Op::Register { .. } => "r",
            Op::Bury { whom, .. } => {
                script.key(self.rows(*whom));
                "b"
            }
            Op::Leave => "l",
        };
        let epoch = call.epoch.map_or("-".to_owned(), |epoch| hex(epoch.0));
        script.arg(op).arg(hex(call.id.0)).arg(call.seq).arg(call.acked).arg(epoch);
        script.arg(self.terms.settle_ms).arg(self.terms.known_ms).arg(TTL_MS);
        match &call.op {
            Op::Exchange { asks, interest, is_leaving, list } => {
                let names: String = interest.iter().map(|name| hex(name.0)).collect();
                script.arg(u8::from(*is_leaving)).arg(u8::from(*list)).arg(names);
                asks.iter().for_each(|asked| {
                    script.arg(ask(asked));
                });
            }
            Op::Register { asks, address, knows, next } => {
                let knows: String =
                    knows.iter().map(|(id, address)| format!("{} {address}\n", hex(id.0))).collect();
                script.arg(address).arg(hex(next.0)).arg(knows);
                asks.iter().for_each(|asked| {
                    script.arg(ask(asked));
                });
            }
            Op::Bury { whom, seq } => {
                script.arg(hex(whom.0)).arg(seq.map_or("-".to_owned(), |seq| seq.to_string()));
            }
            Op::Leave => {}
        }
        script
    }

    /// A key of the ledger.
    pub fn key(&self, part: &str) -> String {
        format!("{}:{part}", self.prefix)
    }

    /// The key of a member's rows.
    pub fn rows(&self, id: MemberId) -> String {
        self.key(&format!("m:{}", hex(id.0)))
    }
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

fn ask(ask: &Ask) -> String {
    let Row { held, in_use, urgent, waiting } = ask.row;
    format!("{} {} {held} {in_use} {urgent} {waiting} {}", hex(ask.name.0), ask.cap, ask.want)
}

/// The answer, and the time of Redis' clock in milliseconds. `None`: it is none.
pub fn answer(value: &Value) -> Option<(Answer, u64)> {
    let Value::Array(parts) = value else { return None };
    let parts: Option<Vec<&str>> = parts.iter().map(text).collect();
    let [status, id, seq, epoch, now, settled, granted, totals, fellows] = parts?[..] else { return None };
    let epoch = if epoch.is_empty() { None } else { Some(Epoch(of_hex(epoch)?)) };
    let reply = match status {
        "done" => Reply::Done(Done {
            epoch: Some(epoch?),
            is_settled: flag(settled)?,
            granted: list(granted, ' ', |text| text.parse().ok())?,
            totals: if totals.is_empty() { Vec::new() } else { list_of_totals(totals)? },
            fellows: if fellows.is_empty() { None } else { Some(list(fellows, '\n', fellow)?) },
        }),
        "lost" => Reply::Lost,
        "epoch" => Reply::Epoch(epoch?),
        "settled" => Reply::Settled,
        "late" => Reply::Late,
        _ => return None,
    };
    let answer = Answer { id: MemberId(of_hex(id)?), seq: seq.parse().ok()?, reply };
    Some((answer, now.parse().ok()?))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn of_hex(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

fn list<T>(text: &str, separator: char, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(separator).map(read).collect()
}

fn list_of_totals(text: &str) -> Option<Vec<Total>> {
    text.split(',').map(total).collect()
}

fn total(text: &str) -> Option<Total> {
    if text.is_empty() {
        return Some(Total::default());
    }
    let [held, in_use, urgent, waiting, starved] = list(text, ' ', |text| text.parse().ok())?[..] else {
        return None;
    };
    Some(Total { held, in_use, urgent, waiting, starved })
}

fn fellow(line: &str) -> Option<Fellow> {
    let mut words = line.splitn(4, ' ');
    let [id, seq, leaving, address] = [words.next()?, words.next()?, words.next()?, words.next()?];
    if address.len() > ADDRESS_BYTES_MOST {
        return None;
    }
    let seq = if seq == "-" { None } else { Some(seq.parse().ok()?) };
    let id = MemberId(of_hex(id)?);
    Some(Fellow { id, seq, address: address.to_owned(), is_leaving: flag(leaving)? })
}
