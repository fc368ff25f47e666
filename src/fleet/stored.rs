//! The memory of stored responses: the node that made each, because no other has it.
//!
//! An engine keeps the responses of OpenAI's Responses API in its own memory, and answers 404 for those of another. So a
//! request that names one (`previous_response_id`, `GET /responses/{id}`) goes to the node whose answer had that id.

use std::collections::HashMap;

use super::digest::Digest;
use super::key::Key;

/// The most ids that a pool remembers: about 4 MB.
const IDS_MAX: usize = 65_536;

/// The id of a stored response. Ids are opaque and have no bound, so only their hash is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredId(Digest);

impl StoredId {
    pub fn of(id: &str) -> Self {
        Self(Digest::of(&[id.as_bytes()]))
    }
}

/// The nodes of the ids that were used last. Two halves, of which the older one is dropped as a whole when the younger one is
/// full: that forgets in the order of use, near enough, without a list.
#[derive(Debug)]
pub(super) struct StoredIds {
    young: HashMap<StoredId, Key>,
    old: HashMap<StoredId, Key>,
    half: usize,
}

impl Default for StoredIds {
    fn default() -> Self {
        Self::with_room_for(IDS_MAX)
    }
}

impl StoredIds {
    fn with_room_for(ids: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: ids / 2 }
    }

    /// This node has the response.
    pub(super) fn insert(&mut self, id: StoredId, key: Key) {
        self.old.remove(&id);
        if self.young.len() >= self.half && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, key);
    }

    /// The node that has the response. It is remembered for longer, because it is in use.
    pub(super) fn find(&mut self, id: StoredId) -> Option<Key> {
        let young = self.young.get(&id).copied();
        young.or_else(|| self.old.get(&id).copied().inspect(|key| self.insert(id, *key)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(serial: u64) -> Key {
        Key { place: 0, serial }
    }

    #[test]
    fn more_ids_than_there_is_room_for() {
        let mut ids = StoredIds::default();
        let id = |number: usize| StoredId::of(&format!("resp_{number}"));
        for number in 0..70_000 {
            ids.insert(id(number), key(number as u64));
        }
        let room = ids.young.capacity() + ids.old.capacity();
        for number in 70_000..210_000 {
            ids.insert(id(number), key(number as u64));
            assert!(ids.young.len() + ids.old.len() <= IDS_MAX);
        }
        assert!(ids.young.capacity() + ids.old.capacity() <= room * 2, "no more memory");
        let known = (0..210_000).filter(|number| ids.find(id(*number)).is_some()).count();
        assert!((IDS_MAX / 2..=IDS_MAX).contains(&known), "{known}");
        assert_eq!(ids.find(id(209_999)), Some(key(209_999)));
    }

    proptest! {
        /// Each step: an id, and its node or the question for it. As many ids as make up a half are known for sure, each
        /// with the node that was said last.
        #[test]
        fn the_ids_in_use_are_known_and_their_number_is_bounded(
            room in 2..12_usize,
            steps in prop::collection::vec((0..20_u32, prop::option::of(1..4_u64)), 0..200),
        ) {
            let mut ids = StoredIds::with_room_for(room);
            // the last use last
            let mut used: Vec<(u32, u64)> = Vec::new();
            for (number, node) in steps {
                let id = StoredId::of(&number.to_string());
                let place = used.iter().position(|(other, _)| *other == number);
                let known = place.map(|place| used.remove(place).1);
                if let Some(node) = node {
                    ids.insert(id, key(node));
                    used.push((number, node));
                } else {
                    let found = ids.find(id);
                    prop_assert!(found.is_none() || found == known.map(key), "another node's");
                    let is_recent = place.is_some_and(|place| used.len() - place < room / 2);
                    prop_assert!(!is_recent || found.is_some(), "forgotten");
                    used.extend(found.and(known).map(|node| (number, node)));
                }
                prop_assert!(ids.young.len() + ids.old.len() <= room.max(2));
            }
        }
    }
}
