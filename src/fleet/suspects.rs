//! Suspects: failures of one request that may be the request's own fault.
//!
//! A broken request gets a 5xx from every node. So when a second node also answers 5xx, the failure is
//! withdrawn from both. If a third node then serves the request, the nodes were at fault, and both failures
//! are reinstated.

use super::key::Charge;

/// The charges that one request has caused, oldest first.
#[derive(Debug, Default)]
pub struct Suspects {
    charges: Vec<Charge>,
}

impl Suspects {
    /// Records a failure that may be the request's own. Yields the charges to withdraw
    /// ([`super::Pool::withdraw`]); none while only one node has been charged. Charges already withdrawn are
    /// yielded again, because their node may not have qualified for acquittal then.
    pub fn charged(&mut self, charge: Charge) -> impl Iterator<Item = Charge> {
        self.charges.push(charge);
        let is_shared = self.charges.iter().any(|other| other.node() != charge.node());
        self.charges.iter().copied().filter(move |_| is_shared)
    }

    /// A node served the request. Yields the charges to reinstate ([`super::Pool::reinstate`]), once.
    pub fn served(&mut self) -> impl Iterator<Item = Charge> {
        // a single charge was never withdrawn
        let from = if self.charges.len() > 1 { 0 } else { self.charges.len() };
        self.charges.drain(from..)
    }

    /// Forgets all charges: the request moves to another pool, where no node has failed it.
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

    /// A failure of node `serial`, identified by its ticket.
    fn charge(serial: u64, ticket: u64) -> Charge {
        let key = Key { place: 0, serial };
        Charge { key, ticket, epoch: 0, outcome: Outcome::Http5xx, at: Instant::now() }
    }

    fn tickets(charges: impl Iterator<Item = Charge>) -> Vec<u64> {
        charges.map(|charge| charge.ticket).collect()
    }

    /// Each row: the nodes that fail the request in turn, the charges that the last failure withdraws, and
    /// those reinstated when a node then serves the request.
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
    fn reinstated_charges_are_forgotten_and_a_single_charge_is_not() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.charged(charge(1, 1)).count(), 0);
        assert_eq!(suspects.served().count(), 0);
        assert_eq!(tickets(suspects.charged(charge(2, 2))), [1, 2], "the first is still suspected");
        assert_eq!(suspects.served().count(), 2);
        assert_eq!(suspects.served().count(), 0, "once");
        assert_eq!(suspects.charged(charge(1, 3)).count(), 0);
    }

    #[test]
    fn another_pool_starts_without_suspects() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.charged(charge(1, 1)).count(), 0);
        suspects.clear();
        assert_eq!(suspects.charged(charge(2, 2)).count(), 0);
    }
}
