//! The decision on a refusal: what another node may serve is no answer, until all agree.

use std::sync::Arc;
use std::time::Instant;

use super::attempt::Attempt;
use super::conversation::Home;
use super::denial::{DENIALS_MAX, Denials, is_denial};
use super::state::Journey;
use crate::fleet::{Credential, Key, Subject};
use crate::retry::Repeat;

/// The longest name of a model that is kept, in bytes.
const SUBJECT_MAX: usize = 128;

impl<H> Journey<H> {
    /// True if [`Self::set_subject`] is to be called before the next search, because nodes are skipped for some models.
    pub fn needs_subject(&self) -> bool {
        self.may_be_denied() && self.subject.is_none() && self.member.pool.has_skips()
    }

    /// True if it is to be called before the head with this status is reported.
    pub fn needs_subject_for(&self, status: u16) -> bool {
        is_denial(status) && self.may_be_denied() && self.subject.is_none()
    }

    /// The model that the request asks for, or its path if it names none, and whose request it is.
    pub fn set_subject(&mut self, model: &str, credential: Credential) {
        let end = model.floor_char_boundary(SUBJECT_MAX);
        self.subject = Some(Subject { model: model[..end].into(), credential });
    }

    /// True if another node may serve what one refuses: a model, or a response that it has stored.
    fn may_be_denied(&self) -> bool {
        let may_differ = match self.home {
            Home::Anywhere => self.is_work,
            Home::Unknown(_) => true,
            Home::Node(..) => false,
        };
        let may_repeat = self.repeat == Repeat::Allowed && self.member.conf.retry.attempts > 1;
        may_differ && may_repeat && !self.has_begun()
    }

    /// True if the refusal of this node is held back, because not all nodes are known to refuse it. The decision is
    /// kept in the attempt, because the pool may have changed when it ends.
    pub(super) fn doubts_denial(&mut self, attempt: &Attempt, now: Instant) -> bool {
        let status = attempt.status().unwrap_or_default();
        // to lack a stored response says nothing of the model
        let lacks_response = status == 404 && matches!(self.home, Home::Unknown(_));
        if !self.may_be_denied() || !self.is_work && !lacks_response {
            return false;
        }
        let Some(subject) = self.subject.clone() else { return false };
        let (pool, key) = (Arc::clone(&self.member.pool), attempt.lease.key());
        if !pool.has_others(&[key]) {
            return false;
        }
        if !lacks_response {
            self.denials().doubts.add(&pool, key, &subject, status, now);
        }
        let is_answer = self.denied_by().len() >= DENIALS_MAX || self.all_agree(&[key], now);
        if is_answer {
            self.denials().doubts.agree(now);
        }
        !is_answer
    }

    fn denials(&mut self) -> &mut Denials<H> {
        self.denials.get_or_insert_default()
    }

    /// The nodes that have refused it.
    pub(super) fn denied_by(&self) -> &[Key] {
        self.denials.as_ref().map_or(&[], |denials| &denials.by)
    }

    /// A refusal is held back.
    pub(super) fn holds_denial(&self) -> bool {
        self.denials.as_ref().is_some_and(|denials| denials.answer.is_some())
    }

    /// The client has the head of another answer.
    pub(super) fn drop_denial(&mut self) {
        self.denials.iter_mut().for_each(|denials| denials.answer = None);
    }

    /// The refusal is held back. It uses up no attempt.
    pub(super) fn denied(&mut self, key: Key, answer: Option<H>) {
        self.sent = self.sent.saturating_sub(1);
        let denials = self.denials();
        denials.by.push(key);
        denials.answer = answer.or(denials.answer.take());
    }

    /// The refusal, if all nodes agree by now: those that were away are no longer in the pool, or have refused the same to others.
    pub(super) fn agreed_denial(&mut self, now: Instant) -> Option<H> {
        if !self.holds_denial() || !self.all_agree(&[], now) {
            return None;
        }
        let denials = self.denials();
        denials.doubts.agree(now);
        denials.answer.take()
    }

    /// Each node of the pool is one of these, has refused the request, or is known to refuse its like.
    pub(super) fn all_agree(&self, and: &[Key], now: Instant) -> bool {
        !self.member.pool.has_others(&[self.denied_by(), &self.refusing(now), and].concat())
    }

    /// Nodes refuse the request, as far as is known.
    pub(super) fn is_denied(&self, now: Instant) -> bool {
        !self.denied_by().is_empty() || !self.refusing(now).is_empty()
    }

    /// The nodes that are known to refuse its like.
    pub(super) fn refusing(&self, now: Instant) -> Vec<Key> {
        let pool = &self.member.pool;
        let subject = self.subject.as_ref().filter(|_| pool.has_skips());
        subject.map(|subject| pool.refusing(subject, now)).unwrap_or_default()
    }
}
