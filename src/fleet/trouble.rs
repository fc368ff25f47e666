//! The trouble with a node that was told last, so that it is told once and not for every request.

use std::sync::Arc;

use parking_lot::Mutex;

/// Shared by all that connect to the node.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// Takes what was found just now, `None` if all went well. Returns whether that is news.
    pub fn is_news(&self, found: Option<&str>) -> bool {
        let mut told = self.0.lock();
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
