//! Fairness between keys: the service that each flow of requests has had, so that the next slot goes to the one with the least.
//!
//! Virtual counters as in "Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024), with two differences. A slot is
//! charged when it is granted, with an estimate: many are granted in one moment, and answers take minutes. It is corrected while
//! the answer outgrows the estimate, and at its end. And a flow that comes back is lifted to the service at which the last slot was
//! granted, not to the least counter of those that wait: that may belong to one whose nodes are all full, and a flow raised only
//! to there would starve the others until it had caught up.

use std::collections::HashMap;

use super::key::Delivered;
use super::want::{CLASSES, Flow};
use crate::balance::tokens::Size;
use crate::config::Class;
use crate::outcome::Outcome;

/// The service of one token of an answer beside one of a prompt.
const ANSWER: u64 = 2;
/// Tokens of an answer while the flow has had none and the request has no limit.
const UNKNOWN: u32 = 256;
/// The part that the newest answer has in a flow's mean.
const NEWEST: f64 = 1.0 / 16.0;
/// Slots granted between two looks for accounts to forget, besides one for each account.
const SWEEP: usize = 64;
/// The most accounts of flows that neither wait nor are served.
const DEBTORS_MAX: usize = 4096;

/// The accounts of the flows, each class apart: what one has had in another class is no reason to let it wait.
#[derive(Debug, Default)]
pub(super) struct Fair {
    accounts: HashMap<Option<Flow>, Account>,
    /// The slots that are charged, by the numbers of their attempts.
    bills: HashMap<u64, Bill>,
    /// The service at which the last slot was granted; it never falls.
    times: [u64; CLASSES],
    /// Flows that wait, by class.
    waiting: [usize; CLASSES],
    /// Slots to be granted before the next look for accounts to forget.
    until_sweep: usize,
}

#[derive(Debug, Default)]
struct Account {
    by_class: [Counter; CLASSES],
    /// Its bills.
    open: usize,
    /// Mean tokens of its answers.
    answers: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// In tokens of a prompt.
    served: u64,
    waiting: usize,
    /// Times that it was raised: what had been charged before is past, and is not paid back.
    lifts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bill {
    flow: Option<Flow>,
    class: Class,
    prompt: u32,
    /// Tokens of the answer that are charged.
    answer: u32,
    lifts: u32,
}

/// The work that was done for an attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Nothing,
    /// Its answer was whole. `prompt`, `answer`: tokens, as far as they were told.
    Whole {
        prompt: Option<u32>,
        answer: Option<u32>,
    },
    /// Tokens until it broke off.
    Part {
        prompt: Option<u32>,
        answer: u32,
    },
}

impl Done {
    /// A client that leaves has had its prompt read: else it would be served for nothing.
    pub(super) fn of(outcome: Outcome, delivered: Delivered) -> Self {
        let Delivered { is_any, tokens, .. } = delivered;
        let prompt = Some(delivered.prompt).filter(|tokens| *tokens > 0);
        match outcome {
            Outcome::Ok if is_any => {
                // who counts a prompt's tokens and none of an answer has made no text
                let is_told = tokens > 0 || prompt.is_some();
                Self::Whole { prompt, answer: is_told.then_some(tokens) }
            }
            Outcome::ClientGone => Self::Part { prompt, answer: tokens },
            _ if tokens > 0 => Self::Part { prompt, answer: tokens },
            _ => Self::Nothing,
        }
    }
}

/// The service of a flow has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub flow: Option<Flow>,
    pub class: Class,
    pub before: u64,
    pub after: u64,
}

fn cost(prompt: u32, answer: u32) -> u64 {
    u64::from(prompt) + ANSWER * u64::from(answer)
}

impl Counter {
    fn lift(&mut self, time: u64) {
        if self.served < time {
            self.served = time;
            self.lifts = self.lifts.wrapping_add(1);
        }
    }
}

impl Account {
    fn expected(&self, limit: Option<u32>) -> u32 {
        let usual = self.answers.map_or(UNKNOWN, |mean| mean.round() as u32);
        limit.map_or(usual, |limit| usual.min(limit))
    }

    fn learn(&mut self, tokens: u32) {
        let tokens = f64::from(tokens);
        let mean = self.answers.get_or_insert(tokens);
        *mean += NEWEST * (tokens - *mean);
    }

    /// It neither waits nor is served.
    fn is_idle(&self) -> bool {
        self.open == 0 && self.by_class.iter().all(|counter| counter.waiting == 0)
    }

    /// Its service is that of a new account.
    fn is_even(&self, times: &[u64; CLASSES]) -> bool {
        self.by_class.iter().zip(times).all(|(counter, time)| counter.served <= *time)
    }
}

impl Fair {
    /// So many requests of each class wait already, all of this flow.
    pub(super) fn of(flow: Option<Flow>, waiting: [usize; CLASSES]) -> Self {
        let by_class = waiting.map(|waiting| Counter { waiting, ..Counter::default() });
        let account = Account { by_class, ..Account::default() };
        let flows = waiting.map(|waiting| usize::from(waiting > 0));
        Self { accounts: HashMap::from([(flow, account)]), waiting: flows, ..Self::default() }
    }

    /// No more than one flow is known.
    pub(super) fn is_over(&self) -> bool {
        self.accounts.len() <= 1
    }

    #[cfg(test)]
    pub(super) fn flows(&self) -> usize {
        self.accounts.len()
    }

    pub(super) fn served(&self, flow: Option<Flow>, class: Class) -> u64 {
        self.accounts.get(&flow).map_or(0, |account| account.by_class[class.place()].served)
    }

    /// The flow has less than its equal part of so many places in the queue, for a class and those above it.
    pub(super) fn has_place(&self, flow: Option<Flow>, class: Class, places: usize) -> bool {
        let to = class.place();
        let account = self.accounts.get(&flow);
        let own: usize =
            account.map_or(0, |account| account.by_class[..=to].iter().map(|counter| counter.waiting).sum());
        let flows = self.waiting[..=to].iter().sum::<usize>() + usize::from(own == 0);
        own < places / flows.max(1)
    }

    /// A request waits. A flow that had none there is as if it had had as much as those whose turn it is.
    pub(super) fn join(&mut self, flow: Option<Flow>, class: Class) {
        let counter = &mut self.accounts.entry(flow).or_default().by_class[class.place()];
        if counter.waiting == 0 {
            counter.lift(self.times[class.place()]);
            self.waiting[class.place()] += 1;
        }
        counter.waiting += 1;
    }

    /// A request waits no more.
    pub(super) fn leave(&mut self, flow: Option<Flow>, class: Class) {
        if let Some(account) = self.accounts.get_mut(&flow) {
            let waiting = &mut account.by_class[class.place()].waiting;
            self.waiting[class.place()] -= usize::from(*waiting == 1);
            *waiting = waiting.saturating_sub(1);
            self.forget_if_blank(flow);
        }
    }

    /// An attempt begins. Returns the tokens of its answer that are charged, too.
    pub(super) fn begin(
        &mut self,
        ticket: u64,
        flow: Option<Flow>,
        class: Class,
        size: Size,
    ) -> (Change, u32) {
        self.sweep();
        let time = &mut self.times[class.place()];
        let account = self.accounts.entry(flow).or_default();
        let answer = account.expected(size.limit);
        account.open += 1;
        let counter = &mut account.by_class[class.place()];
        if counter.waiting == 0 {
            counter.lift(*time);
        }
        let before = counter.served;
        *time = before.max(*time);
        let bill = Bill { flow, class, prompt: size.prompt, answer, lifts: counter.lifts };
        self.bills.insert(ticket, bill);
        counter.served = before.saturating_add(bill.amount());
        (Change { flow, class, before, after: counter.served }, answer)
    }

    /// The answer has so many tokens, more than are charged: as many again are to be expected. Returns those charged, too.
    pub(super) fn outgrows(&mut self, ticket: u64, answer: u32) -> Option<(Change, u32)> {
        let bill = self.bills.get_mut(&ticket)?;
        let paid = bill.amount();
        bill.answer = answer.saturating_mul(2).max(bill.answer);
        let bill = *bill;
        let counter = &mut self.accounts.get_mut(&bill.flow)?.by_class[bill.class.place()];
        Some((counter.correct(bill, paid, bill.amount()), bill.answer))
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, ticket: u64, done: Done) -> Option<Change> {
        let bill = self.bills.remove(&ticket)?;
        let account = self.accounts.get_mut(&bill.flow)?;
        account.open = account.open.saturating_sub(1);
        if let Done::Whole { answer: Some(tokens), .. } = done {
            account.learn(tokens);
        }
        let counter = &mut account.by_class[bill.class.place()];
        let change = counter.correct(bill, bill.amount(), bill.due(done));
        self.forget_if_blank(bill.flow);
        Some(change)
    }

    /// Keeps those whose answers are known until the next sweep: their next slot is charged by them.
    fn forget_if_blank(&mut self, flow: Option<Flow>) {
        let is_blank = |account: &Account| {
            account.answers.is_none() && account.is_idle() && account.is_even(&self.times)
        };
        if self.accounts.get(&flow).is_some_and(is_blank) {
            self.accounts.remove(&flow);
        }
    }

    /// Forgets flows that are idle and that the others have caught up with. One look at each, for as many slots that are granted.
    fn sweep(&mut self) {
        if self.until_sweep > 0 {
            self.until_sweep -= 1;
            return;
        }
        self.accounts.retain(|_, account| !account.is_idle() || !account.is_even(&self.times));
        let debtors = self.accounts.values().filter(|account| account.is_idle()).count();
        if debtors > DEBTORS_MAX {
            self.accounts.retain(|_, account| !account.is_idle());
        }
        self.until_sweep = SWEEP + self.accounts.len();
    }
}

impl Counter {
    fn correct(&mut self, bill: Bill, paid: u64, due: u64) -> Change {
        let before = self.served;
        self.served = if due >= paid {
            before.saturating_add(due - paid)
        } else if bill.lifts == self.lifts {
            before.saturating_sub(paid - due)
        } else {
            before
        };
        Change { flow: bill.flow, class: bill.class, before, after: self.served }
    }
}

impl Bill {
    /// The service that is charged.
    fn amount(&self) -> u64 {
        cost(self.prompt, self.answer)
    }

    /// The service that there was. Where the length of an answer is not told, that which was expected.
    fn due(&self, done: Done) -> u64 {
        let prompt = |told: Option<u32>| told.unwrap_or(self.prompt);
        match done {
            Done::Nothing => 0,
            Done::Whole { prompt: told, answer } => cost(prompt(told), answer.unwrap_or(self.answer)),
            Done::Part { prompt: told, answer } => cost(prompt(told), answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class::Normal;
    const SIZE: Size = Size { prompt: 100, limit: None };

    fn flow(number: u64) -> Option<Flow> {
        Some(Flow::new(number))
    }

    /// Two flows that wait.
    fn two() -> Fair {
        let mut fair = Fair::of(flow(1), [0, 1, 0]);
        fair.join(flow(2), CLASS);
        fair
    }

    fn served(fair: &Fair) -> [u64; 2] {
        [1, 2].map(|number| fair.served(flow(number), CLASS))
    }

    fn whole(prompt: Option<u32>, answer: Option<u32>) -> Done {
        Done::Whole { prompt, answer }
    }

    #[test]
    fn a_slot_costs_what_is_expected_and_in_the_end_what_it_was() {
        for (done, due, next) in [
            (Done::Nothing, 0, 256),
            (whole(None, Some(30)), 160, 30),
            (whole(Some(80), Some(30)), 140, 30),
            (whole(Some(80), Some(1000)), 2080, 1000),
            // it tells nothing
            (whole(None, None), 612, 256),
            (whole(Some(80), Some(0)), 80, 0),
            (Done::Part { prompt: None, answer: 7 }, 114, 256),
        ] {
            let mut fair = two();
            let (change, paid) = fair.begin(1, flow(1), CLASS, SIZE);
            assert_eq!((change.before, change.after, paid), (0, 612, 256));
            fair.end(1, done);
            assert_eq!(served(&fair), [due, 0], "{done:?}");
            assert_eq!(fair.begin(2, flow(1), CLASS, Size::default()).1, next, "{done:?}");
            assert_eq!(fair.begin(3, flow(2), CLASS, SIZE).1, 256, "each flow has its own mean");
        }
        let limited = Size { limit: Some(16), ..SIZE };
        assert_eq!(two().begin(1, flow(1), CLASS, limited).1, 16);
    }

    #[test]
    fn an_answer_that_outgrows_what_was_expected_is_charged_as_it_comes() {
        let mut fair = two();
        fair.begin(1, flow(1), CLASS, SIZE);
        for (said, paid) in [(257, 514), (515, 1030)] {
            let (change, now) = fair.outgrows(1, said).expect("a bill");
            assert_eq!((now, change.after), (paid, 100 + 2 * u64::from(paid)));
        }
        fair.end(1, whole(None, Some(600)));
        assert_eq!(served(&fair), [1300, 0]);
        assert!(fair.outgrows(1, 700).is_none() && fair.end(1, Done::Nothing).is_none(), "it is over");
    }

    #[test]
    fn one_that_was_idle_has_saved_up_nothing_and_is_paid_back_nothing_of_the_past() {
        let mut fair = two();
        fair.leave(flow(2), CLASS);
        fair.join(flow(2), CLASS);
        fair.begin(1, flow(2), CLASS, SIZE);
        fair.leave(flow(2), CLASS);
        for ticket in 2..100 {
            fair.begin(ticket, flow(1), CLASS, SIZE);
        }
        fair.join(flow(2), CLASS);
        let [one, two] = served(&fair);
        assert_eq!(one - two, 612, "as those whose turn it is");
        fair.end(1, Done::Nothing);
        assert_eq!(served(&fair), [one, two]);
        fair.begin(100, flow(2), CLASS, SIZE);
        fair.end(100, Done::Nothing);
        assert_eq!(served(&fair), [one, two], "but of what came since");
    }

    #[test]
    fn one_that_asks_one_thing_at_a_time_has_a_mean_too() {
        let mut fair = two();
        fair.begin(1, flow(2), CLASS, SIZE);
        fair.leave(flow(2), CLASS);
        (2..4).for_each(|ticket| _ = fair.begin(ticket, flow(1), CLASS, SIZE));
        fair.end(1, whole(None, Some(30)));
        fair.join(flow(2), CLASS);
        assert_eq!(fair.begin(4, flow(2), CLASS, SIZE).1, 30);
        fair.leave(flow(2), CLASS);
        fair.end(4, Done::Nothing);
        (5..200).for_each(|ticket| _ = fair.begin(ticket, flow(1), CLASS, SIZE));
        assert_eq!(fair.flows(), 1, "until it has been idle for long");
    }

    #[test]
    fn classes_are_apart() {
        let mut fair = two();
        fair.begin(1, flow(1), CLASS, SIZE);
        fair.join(flow(1), Class::Batch);
        assert_eq!(fair.served(flow(1), Class::Batch), 0);
    }

    #[test]
    fn nobody_is_remembered_for_ever() {
        let mut fair = two();
        for number in 3..20_000 {
            fair.join(flow(number), CLASS);
            fair.begin(number, flow(number), CLASS, SIZE);
            fair.leave(flow(number), CLASS);
            fair.end(number, whole(None, Some(1)));
            assert!(fair.accounts.len() <= 2 * (DEBTORS_MAX + SWEEP) + 2, "{}", fair.accounts.len());
        }
        fair.leave(flow(1), CLASS);
        (20_000..60_000).for_each(|ticket| _ = fair.begin(ticket, flow(2), CLASS, SIZE));
        assert!(fair.is_over() && fair.waiting == [0, 1, 0]);
        (20_000..60_000).for_each(|ticket| _ = fair.end(ticket, Done::Nothing));
        assert!(fair.bills.is_empty());
    }

    #[test]
    fn each_flow_is_sure_of_its_part_of_the_queue() {
        let mut fair = two();
        for (number, has_place) in [(1, true), (2, true), (3, true)] {
            assert_eq!(fair.has_place(flow(number), CLASS, 10), has_place);
        }
        (0..4).for_each(|_| fair.join(flow(1), CLASS));
        assert_eq!([1, 2, 3].map(|number| fair.has_place(flow(number), CLASS, 10)), [false, true, true]);
        assert!(fair.has_place(flow(1), Class::Interactive, 10), "those below it do not count");
        assert!(!fair.has_place(flow(3), CLASS, 2));
    }
}
