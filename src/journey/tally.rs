//! The sum of what a request's attempts have answered, for the metrics: a stream may have had several nodes.

use std::time::{Duration, Instant};

use crate::fleet::{Spoken, inter_token};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// The time of the first words of a stream.
    pub began: Option<Instant>,
    /// Tokens of the prompt; 0: no node has told them.
    pub prompt_tokens: u64,
    /// As the nodes have told them, else an event of a stream counts as one.
    pub answer_tokens: u64,
    span: Duration,
    gaps: u64,
}

impl Tally {
    /// A node has told the tokens of its prompt. One that goes on with a stream reads the words so far as a part of that.
    pub(super) fn read_prompt(&mut self, tokens: u64) {
        if self.prompt_tokens == 0 {
            self.prompt_tokens = tokens.saturating_sub(self.answer_tokens);
        }
    }

    pub(super) fn add(&mut self, spoken: Spoken) {
        let Spoken { began, span, gaps, answer_tokens } = spoken;
        self.began = self.began.or(began);
        self.answer_tokens += answer_tokens;
        self.span += span;
        self.gaps += gaps;
    }

    /// The tokens of streams that have come after their first ones.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// The mean time from one token to the next, without the time that passed between two nodes.
    pub fn inter_token(&self) -> Option<Duration> {
        inter_token(self.span, self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_make_one_stream() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut tally = Tally::default();
        assert_eq!(tally.inter_token(), None);
        let spoken = |at, tokens| Spoken {
            began: Some(began + at * second),
            span: 2 * second,
            gaps: tokens - 1,
            answer_tokens: tokens,
        };
        tally.add(Spoken::default());
        tally.add(spoken(1, 11));
        tally.read_prompt(61);
        tally.add(spoken(9, 31));
        assert_eq!(tally.began, Some(began + second));
        assert_eq!((tally.prompt_tokens, tally.answer_tokens), (50, 42));
        assert_eq!(tally.inter_token(), Some(Duration::from_millis(100)));
    }
}
