//! The script that Redis runs against the ledger as a value: the same answers to any calls.

use std::time::{Duration, Instant};

use evenkeel::cluster::wire::{Keys, answer};
use evenkeel::credits::{Answer, Ask, Call, Done, Epoch, Ledger, MemberId, Name, Op, Reply, Row, Terms};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::redis::{Redis, is_there};

const TERMS: Terms = Terms { settle_ms: 3, known_ms: 6 };

/// What happens, before names and numbers are filled in.
#[derive(Debug, Clone)]
enum Event {
    Call { member: u64, op: Kind, epoch: Believed, seq: u64, acked: u64 },
    Flush,
    LoseTotals,
    LoseRows { member: u64 },
    Pause { ms: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Believed {
    Present,
    None,
    Another,
}

#[derive(Debug, Clone)]
enum Kind {
    Exchange { asks: Vec<(u64, u32, Row, u32)>, list: bool, is_leaving: bool },
    Register { asks: Vec<(u64, u32, Row, u32)>, knows: Vec<u64> },
    Bury { whom: u64, behind: Option<u64> },
    Leave,
}

fn asks() -> impl Strategy<Value = Vec<(u64, u32, Row, u32)>> {
    let row = (0..4_u32, 0..4_u32, 0..3_u32, 0..3_u32).prop_map(|(held, in_use, urgent, waiting)| Row {
        held,
        in_use,
        urgent,
        waiting,
    });
    prop::collection::btree_map(0..4_u64, (1..9_u32, row, 0..6_u32), 0..4)
        .prop_map(|asks| asks.into_iter().map(|(name, (cap, row, more))| (name, cap, row, more)).collect())
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        8 => (asks(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(asks, list, is_leaving)| Kind::Exchange { asks, list, is_leaving }),
        4 => (asks(), prop::collection::vec(1..5_u64, 0..3))
            .prop_map(|(asks, knows)| Kind::Register { asks, knows }),
        1 => (1..5_u64, prop::option::of(0..2_u64)).prop_map(|(whom, behind)| Kind::Bury { whom, behind }),
        1 => Just(Kind::Leave),
    ];
    let epoch = prop_oneof![
        20 => Just(Believed::Present), 3 => Just(Believed::None), 1 => Just(Believed::Another)
    ];
    // how far the numbers of a call are from those expected
    let seq = prop_oneof![20 => Just(1_u64), 1 => Just(0_u64)];
    let acked = prop_oneof![40 => Just(0_u64), 1 => Just(1_u64)];
    prop_oneof![
        30 => (1..5_u64, kind, epoch, seq, acked)
            .prop_map(|(member, op, epoch, seq, acked)| Event::Call { member, op, epoch, seq, acked }),
        1 => Just(Event::Flush),
        1 => Just(Event::LoseTotals),
        1 => (1..5_u64).prop_map(|member| Event::LoseRows { member }),
        3 => (1..8_u64).prop_map(|ms| Event::Pause { ms }),
    ]
}

/// One ledger in Redis and one as a value.
struct Both {
    connection: redis::Connection,
    keys: Keys,
    value: Ledger,
    /// The holdings that the ledger has of each member, so that most calls are sensible.
    held: std::collections::HashMap<(u64, u64), u32>,
    seqs: [u64; 5],
    epoch: Option<Epoch>,
    fresh: u64,
}

impl Both {
    fn happen(&mut self, event: &Event) {
        match event {
            Event::Call { member, op, epoch, seq, acked } => {
                self.fresh += 1;
                let last = self.seqs[*member as usize];
                let call = Call {
                    id: MemberId(*member),
                    seq: last + seq,
                    acked: last + acked,
                    epoch: match epoch {
                        Believed::Present => self.epoch,
                        Believed::None => None,
                        Believed::Another => Some(Epoch(999)),
                    },
                    op: self.op(*member, op),
                };
                self.call(&call);
            }
            Event::Flush => {
                redis::cmd("FLUSHALL").exec(&mut self.connection).expect("an answer");
                self.value.lose();
            }
            Event::LoseTotals => {
                let key = self.keys.key("totals");
                redis::cmd("DEL").arg(key).exec(&mut self.connection).expect("an answer");
                self.value.lose_totals();
            }
            Event::LoseRows { member } => {
                let key = self.keys.rows(MemberId(*member));
                redis::cmd("DEL").arg(key).exec(&mut self.connection).expect("an answer");
                self.value.lose_rows(MemberId(*member));
            }
            Event::Pause { ms } => {
                // Redis' own clock is to go on; the value is told its time
                let end = Instant::now() + Duration::from_millis(*ms);
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            }
        }
    }

    fn op(&self, member: u64, kind: &Kind) -> Op {
        let ask = |of: &(u64, u32, Row, u32)| {
            let (name, cap, row, more) = *of;
            let held = self.held.get(&(member, name)).copied().unwrap_or(0);
            let row = Row { held: row.held.min(held), ..row };
            Ask { name: Name(name), cap, row, want: row.held + more }
        };
        match kind {
            Kind::Exchange { asks, list, is_leaving } => Op::Exchange {
                asks: asks.iter().map(ask).collect(),
                interest: (0..5).map(Name).collect(),
                is_leaving: *is_leaving,
                list: *list,
            },
            Kind::Register { asks, knows } => Op::Register {
                asks: asks
                    .iter()
                    .map(|(name, cap, row, _)| Ask {
                        name: Name(*name),
                        cap: *cap,
                        row: *row,
                        want: row.held,
                    })
                    .collect(),
                address: format!("10.0.0.{member}:1"),
                knows: knows
                    .iter()
                    .filter(|id| **id != member)
                    .map(|id| (MemberId(*id), format!("10.0.0.{id}:1")))
                    .collect(),
                next: Epoch(self.fresh),
            },
            Kind::Bury { whom, behind } => Op::Bury {
                whom: MemberId(*whom),
                seq: behind.map(|behind| self.seqs[*whom as usize].saturating_sub(behind)),
            },
            Kind::Leave => Op::Leave,
        }
    }

    fn call(&mut self, call: &Call) {
        let value: redis::Value = self.keys.invocation(call).invoke(&mut self.connection).expect("an answer");
        let (said, now) = answer(&value).unwrap_or_else(|| panic!("unreadable: {value:?}"));
        let expected = self.value.call(call, now);
        assert_eq!(sorted(said.clone()), sorted(expected), "{call:?}");
        let Reply::Done(Done { epoch, granted, .. }) = said.reply else {
            self.epoch = if let Reply::Epoch(epoch) = said.reply { Some(epoch) } else { self.epoch };
            return;
        };
        self.seqs[call.id.0 as usize] = call.seq;
        self.epoch = epoch;
        if let Op::Exchange { asks, .. } | Op::Register { asks, .. } = &call.op {
            for (ask, granted) in asks.iter().zip(granted) {
                self.held.insert((call.id.0, ask.name.0), granted);
            }
        }
    }
}

/// Lua's tables have no order.
fn sorted(mut answer: Answer) -> Answer {
    if let Reply::Done(Done { fellows: Some(fellows), .. }) = &mut answer.reply {
        fellows.sort_by_key(|fellow| (fellow.id, fellow.seq));
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_and_the_ledger_say_the_same() {
    if !is_there() {
        return;
    }
    let redis = Redis::start().await;
    let url = redis.url();
    let work = move || {
        let client = redis::Client::open(url).expect("a URL");
        let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
        let run = TestRunner::new(config).run(&prop::collection::vec(event(), 1..120), |events| {
            let mut connection = client.get_connection().expect("it answers");
            redis::cmd("FLUSHALL").exec(&mut connection).expect("an answer");
            let (keys, value) = (Keys::new("test", TERMS), Ledger::new(TERMS));
            let held = std::collections::HashMap::new();
            let mut both = Both { connection, keys, value, held, seqs: [0; 5], epoch: None, fresh: 0 };
            events.iter().for_each(|event| both.happen(event));
            Ok(())
        });
        run.unwrap_or_else(|failure| panic!("{failure}"));
    };
    tokio::task::spawn_blocking(work).await.expect("no difference");
}
