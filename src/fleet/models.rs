//! The models that a pool's nodes say they serve: who is to be asked, and what is known.

use std::sync::Arc;
use std::time::Instant;

use super::key::{Key, ListQuestion};
use super::listed::Listed;
use super::pool::Pool;

impl Pool {
    /// The nodes that are to be asked now for the models that they serve.
    pub fn lists_due(&self, now: Instant) -> Vec<ListQuestion> {
        if !self.lists.lock().may_be_due(now) {
            return Vec::new();
        }
        let questions = self.table.lock().list_questions();
        let members: Vec<_> = questions.iter().map(|question| question.key).collect();
        let due = self.lists.lock().due(&members, now);
        questions.into_iter().filter(|question| due.contains(&question.key)).collect()
    }

    /// The models that a node serves; `None`: it does not say.
    pub fn set_list(&self, key: Key, list: Option<Vec<Listed>>) {
        self.lists.lock().set(key, list);
    }

    /// The models of each node that has said which it serves.
    pub fn lists(&self) -> Vec<Arc<[Listed]>> {
        let table = self.table.lock();
        let members: Vec<_> = table.members().filter(|(_, node)| !node.removed).map(|(key, _)| key).collect();
        drop(table);
        let lists = self.lists.lock();
        members.into_iter().filter_map(|key| lists.of(key)).collect()
    }
}
