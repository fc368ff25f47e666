//! The trouble with a node that was told last, so that it is told once and not for every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Shared by all that connect to the node.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<Last>);

#[derive(Debug, Default)]
struct Last {
    is_any: AtomicBool,
    told: Mutex<Option<String>>,
}

impl Trouble {
    /// Takes what was found just now, `None` if all went well. Returns whether that is news.
    pub fn is_news(&self, found: Option<&str>) -> bool {
        if found.is_none() && !self.0.is_any.load(Ordering::Relaxed) {
            return false;
        }
        let mut told = self.0.told.lock();
        self.0.is_any.store(found.is_some(), Ordering::Relaxed);
        let is_news = told.as_deref() != found;
        if is_news {
            *told = found.map(str::to_owned);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_news_once() {
        let trouble = Trouble::default();
        let found = [None, Some("a"), Some("a"), Some("b"), None, None];
        assert_eq!(found.map(|found| trouble.is_news(found)), [false, true, false, true, true, false]);
    }
}
