//! Stored responses, as a request has to do with them: the one that it names, and the one that its answer is.

use std::sync::Arc;

use crate::classify::response_id::{Found, ResponseId};
use crate::fleet::{Key, Pool, StoredId};

/// The relation of a request to stored responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The stored response that it names.
    pub named: Option<StoredId>,
    /// Its answer is one that may be named later.
    pub is_stored: bool,
}

/// The place of the stored response that a request names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Home {
    /// It names none.
    #[default]
    Anywhere,
    /// No node is known to have it.
    Unknown(StoredId),
    /// No other node can serve the request.
    Node(StoredId, Key),
}

impl Home {
    pub(super) fn of(named: Option<StoredId>, pool: &Pool) -> Self {
        let Some(id) = named else { return Self::Anywhere };
        pool.stored(id).map_or(Self::Unknown(id), |key| Self::Node(id, key))
    }
}

/// Notes which node has made the response whose body passes.
#[derive(Debug)]
pub struct Recorder {
    pool: Arc<Pool>,
    key: Key,
    id: ResponseId,
}

impl Recorder {
    pub(super) fn new(pool: Arc<Pool>, key: Key) -> Self {
        Self { pool, key, id: ResponseId::default() }
    }

    /// Looks at the next bytes of the body before the client gets them, because it may name the response at once. Whether it
    /// is to look on.
    pub fn look(&mut self, chunk: &[u8]) -> bool {
        match self.id.look(chunk) {
            Found::NotYet => return true,
            Found::Id(id) => self.pool.store(StoredId::of(&id), self.key),
            Found::None => {}
        }
        false
    }
}
