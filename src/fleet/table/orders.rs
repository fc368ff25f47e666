//! An operator's orders about a node.

use std::time::Instant;

use super::super::event::{Change, Event};
use super::super::key::Key;
use super::super::order::{Order, Refused};
use super::Table;

impl Table {
    /// See [`super::super::Pool::obey`].
    pub(crate) fn obey(&mut self, node: &str, order: Order, now: Instant) -> Result<Option<Event>, Refused> {
        let mut members = self.members();
        let found = members.find(|(_, other)| *other.id.name == *node && !other.removed);
        let key = found.map(|(key, _)| key).ok_or(Refused::Unknown)?;
        drop(members);
        let change = match order {
            Order::Drain => self.drain(key),
            Order::Undrain => self.undrain(key, now),
            Order::Eject(time) => {
                let time = time.unwrap_or(self.policy.fail_timeout);
                self.node(key).map(|node| node.health.eject_by_order(time, now))
            }
            Order::Restore => {
                let node = self.node(key).ok_or(Refused::Unknown)?;
                if node.resolved.is_none() {
                    return Err(Refused::Unresolved);
                }
                node.health.restore_by_order(now)
            }
        };
        let event = self.note(key, change, now);
        if matches!(order, Order::Eject(_)) {
            self.let_go(key);
        }
        Ok(event)
    }

    fn drain(&mut self, key: Key) -> Option<Change> {
        let node = self.node(key)?;
        let is_new = !std::mem::replace(&mut node.drain.by_operator, true);
        is_new.then_some(Change::DrainedByOperator)
    }

    fn undrain(&mut self, key: Key, now: Instant) -> Option<Change> {
        let node = self.node(key)?;
        let is_new = std::mem::replace(&mut node.drain.by_operator, false);
        if is_new && !node.drains() {
            node.health.undrained(now);
        }
        is_new.then_some(Change::UndrainedByOperator { in_config: node.drain.by_config })
    }

    /// Requests that wait at the node without an answer may go elsewhere, as long as there is a node to go to.
    fn let_go(&mut self, key: Key) {
        let (last_up, last_ticket) = (self.is_last_up(key), self.last_ticket);
        if let Some(node) = self.node(key).filter(|_| !last_up) {
            node.activity.lose(last_ticket);
        }
    }
}
