//! The failures of one request that may be its own fault.
//!
//! A request that is broken gets a 5xx from whatever node it is given to. So a 5xx that a second node gives too is
//! withdrawn from both. If a third node then serves the request it was the nodes after all, and both are charged again.

use super::key::Charge;

/// The charges that one request has brought upon nodes, oldest first.
#[derive(Debug, Default)]
pub struct Suspects {
    charges: Vec<Charge>,
}

impl Suspects {
    /// A node has answered the request with a failure that may be the request's. Yields the charges to be withdrawn
    /// ([`super::Pool::take_back`]): none while only one node has been charged. A charge that was withdrawn before is
    /// among them again, for its node may not have been believed then.
    pub fn charged(&mut self, charge: Charge) -> impl Iterator<Item = Charge> {
        self.charges.push(charge);
        let is_shared = self.charges.iter().any(|other| other.node() != charge.node());
        self.charges.iter().copied().filter(move |_| is_shared)
    }

    /// A node serves the request. Yields the charges to be reinstated ([`super::Pool::charge_again`]), once.
    pub fn served(&mut self) -> impl Iterator<Item = Charge> {
        // a single charge was never withdrawn
        let from = if self.charges.len() > 1 { 0 } else { self.charges.len() };
        self.charges.drain(from..)
    }

    /// The request goes on in another pool, where no node has failed it.
    pub fn clear(&mut self) {
        self.charges.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::key::Key;
    use super::*;
    use crate::outcome::Outcome;

    /// A failure of node `serial`, told apart by its ticket.
    fn charge(serial: u64, ticket: u64) -> Charge {
        let key = Key { place: 0, serial };
        Charge { key, ticket, epoch: 0, outcome: Outcome::Http5xx, at: Instant::now() }
    }

    fn tickets(charges: impl Iterator<Item = Charge>) -> Vec<u64> {
        charges.map(|charge| charge.ticket).collect()
    }

    /// Each row: the nodes that fail the request one after the other, which of the failures the last one withdraws, and
    /// which are reinstated when a node then serves it.
    #[test]
    fn the_request_is_at_fault_if_two_nodes_fail_it_and_none_serves_it() {
        type Row<'a> = (&'a str, &'a [u64], &'a [u64], &'a [u64]);
        let table: [Row; 4] = [
            ("one node", &[1], &[], &[]),
            ("one node twice", &[1, 1], &[], &[1, 2]),
            ("two nodes", &[1, 2], &[1, 2], &[1, 2]),
            ("a node again", &[1, 2, 1], &[1, 2, 3], &[1, 2, 3]),
        ];
        for (name, nodes, withdrawn, reinstated) in table {
            let mut suspects = Suspects::default();
            let mut last = Vec::new();
            for (node, ticket) in nodes.iter().zip(1..) {
                last = tickets(suspects.charged(charge(*node, ticket)));
            }
            assert_eq!(last, withdrawn, "{name}");
            assert_eq!(tickets(suspects.served()), reinstated, "{name}");
        }
    }

    #[test]
    fn what_was_reinstated_is_forgotten_and_a_single_charge_is_not() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.charged(charge(1, 1)).count(), 0);
        assert_eq!(suspects.served().count(), 0);
        assert_eq!(tickets(suspects.charged(charge(2, 2))), [1, 2], "the first is still suspected");
        assert_eq!(suspects.served().count(), 2);
        assert_eq!(suspects.served().count(), 0, "once");
        assert_eq!(suspects.charged(charge(1, 3)).count(), 0);
    }

    #[test]
    fn another_pool_begins_anew() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.charged(charge(1, 1)).count(), 0);
        suspects.clear();
        assert_eq!(suspects.charged(charge(2, 2)).count(), 0);
    }
}
