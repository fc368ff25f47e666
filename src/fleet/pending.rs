//! The work that nodes have before them, for `least_work`.

use std::collections::HashMap;

use crate::balance::tokens::{Answers, Size, Work};

/// The work of a node's requests in flight, by the numbers of their attempts.
#[derive(Debug, Default)]
pub(super) struct Pending {
    open: HashMap<u64, Item>,
    amount: u64,
    /// Requests of other gateways, each of which counts as the usual one.
    pub elsewhere: u32,
}

#[derive(Debug)]
struct Item {
    size: Size,
    work: Work,
}

impl Pending {
    pub(super) fn amount(&self) -> u64 {
        self.amount
    }

    fn begin(&mut self, attempt: u64, size: Size, work: Work) {
        self.amount += work.amount();
        self.open.insert(attempt, Item { size, work });
    }

    /// The answer has begun: the prompt has been read.
    pub(super) fn answers(&mut self, attempt: u64) {
        let Some(Item { work, .. }) = self.open.get_mut(&attempt) else { return };
        self.amount -= work.amount();
        work.prompt = 0;
        self.amount += work.amount();
    }

    /// The size of the request whose attempt has ended.
    fn end(&mut self, attempt: u64) -> Option<Size> {
        let Item { size, work } = self.open.remove(&attempt)?;
        self.amount -= work.amount();
        Some(size)
    }
}

/// The state of a pool with `balance: least_work`.
#[derive(Debug)]
pub(super) struct Weighing {
    answers: Answers,
    /// The mean work of the nodes' requests, which stands for that of the next one.
    usual: f64,
}

impl Default for Weighing {
    fn default() -> Self {
        Self { answers: Answers::default(), usual: 1.0 }
    }
}

impl Weighing {
    pub(super) fn set_usual(&mut self, amount: f64) {
        self.usual = amount;
    }

    /// A node's work and that of one more request, and of those of other gateways.
    pub(super) fn work(&self, node: &Pending) -> f64 {
        node.amount() as f64 + self.usual * (f64::from(node.elsewhere) + 1.0)
    }

    /// An attempt begins.
    pub(super) fn begin(&self, node: &mut Pending, attempt: u64, size: Size) -> f64 {
        node.begin(attempt, size, self.answers.work(size));
        self.work(node)
    }

    /// An attempt ends. `said`: the tokens of its answer, if that was whole and told them.
    pub(super) fn end(&mut self, node: &mut Pending, attempt: u64, said: Option<u32>) -> f64 {
        if let Some((size, said)) = node.end(attempt).zip(said) {
            self.answers.learn(size.limit, said);
        }
        self.work(node)
    }
}
