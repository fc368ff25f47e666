//! The work that nodes have before them, where the pool chooses by it.

use super::super::key::Slot;
use super::super::node::Node;
use super::super::pending::Pending;
use super::Table;
use crate::config::Balance;

impl Table {
    pub(super) fn weigh_if(&mut self, balance: Balance) {
        if balance != Balance::LeastWork {
            self.weighing = None;
            self.nodes.iter_mut().flatten().for_each(|node| node.pending = Pending::default());
        } else if self.weighing.is_none() {
            self.weighing = Some(Box::default());
            self.nodes.iter_mut().flatten().for_each(|node| node.pending.elsewhere = node.elsewhere);
        }
    }

    /// The first of an attempt's answer has come.
    pub(crate) fn begins_to_answer(&mut self, slot: &Slot) {
        if let Some(node) = self.node(slot.key) {
            node.pending.answers(slot.ticket);
            self.show_work(slot.key.place);
        }
    }

    /// The work of the usual request follows what is in flight.
    pub(super) fn weigh(&mut self) {
        let Some(weighing) = &mut self.weighing else { return };
        let nodes = self.nodes.iter().flatten();
        let sum =
            |(count, work): (u32, u64), node: &Node| (count + node.in_flight, work + node.pending.amount());
        let (count, work) = nodes.fold((0, 0), sum);
        if count > 0 {
            weighing.set_usual(work as f64 / f64::from(count));
            (0..self.nodes.len()).for_each(|place| self.show_work(place));
        }
    }

    fn show_work(&mut self, place: usize) {
        let Some((weighing, node)) = self.weighing.as_ref().zip(self.nodes[place].as_ref()) else { return };
        let work = weighing.work(&node.pending);
        self.candidates.update(place, |candidate| candidate.work = Some(work));
    }
}
