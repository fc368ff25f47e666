//! `least_work`: the tokens that nodes have before them, as far as they can be foreseen.
//!
//! A prompt counts until the first token of its answer shows that it has been read, and the answer with what answers to such
//! requests have been like, until it ends. That estimate does not fall while tokens come: of lengths that are spread widely, what
//! is left of one that goes on is not less than it was (for an exponential distribution exactly as much).

/// The work of one token of an answer beside one of a prompt: engines read thousands of tokens of a prompt in one step, and each
/// token of an answer takes a place in a step of its own.
const ANSWER: u64 = 4;

/// Tokens of an answer while none has been seen and the request has no limit.
const UNKNOWN: u32 = 256;

/// The least part that the newest answer has in a mean.
const NEWEST: f64 = 1.0 / 64.0;

/// A request's size as far as it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Tokens of the prompt, estimated.
    pub prompt: u32,
    /// The most tokens of the answer, `max_tokens`.
    pub limit: Option<u32>,
}

/// Tokens that a node has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub prompt: u32,
    pub answer: u32,
}

impl Work {
    /// One number to add up, in tokens of a prompt.
    pub fn amount(self) -> u64 {
        u64::from(self.prompt) + ANSWER * u64::from(self.answer)
    }
}

/// The lengths of a pool's answers, by the limits of their requests: one mean for each power of two.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The part of the limit that answers had.
    limited: [Mean; u32::BITS as usize],
    /// Tokens of answers to requests without a limit.
    unlimited: Mean,
    all: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    count: u32,
    value: f64,
}

impl Mean {
    /// Answers seen before the mean is used.
    const ENOUGH: u32 = 4;

    fn add(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.value += (value - self.value) * f64::from(self.count).recip().max(NEWEST);
    }

    fn get(self) -> Option<f64> {
        (self.count >= Self::ENOUGH).then_some(self.value)
    }
}

impl Answers {
    /// An answer was so long, to a request with this limit.
    pub fn learn(&mut self, limit: Option<u32>, tokens: u32) {
        let tokens = f64::from(tokens);
        self.all.add(tokens);
        match limit.filter(|limit| *limit > 0) {
            None => self.unlimited.add(tokens),
            // some engines count a token more than they were asked for
            Some(limit) => self.limited[limit.ilog2() as usize].add((tokens / f64::from(limit)).min(1.0)),
        }
    }

    /// The length of an answer to come.
    pub fn expected(&self, limit: Option<u32>) -> u32 {
        let usual = || self.all.get().unwrap_or_else(|| f64::from(UNKNOWN));
        let tokens = match limit {
            None => self.unlimited.get().unwrap_or_else(usual),
            Some(0) => 0.0,
            Some(limit) => {
                let part = self.limited[limit.ilog2() as usize].get();
                let most = f64::from(limit);
                part.map_or_else(|| usual().min(most), |part| part * most)
            }
        };
        tokens.round() as u32
    }

    /// The work of a request to come.
    pub fn work(&self, size: Size) -> Work {
        Work { prompt: size.prompt, answer: self.expected(size.limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn answers_to_come_are_as_those_that_came() {
        let mut answers = Answers::default();
        assert_eq!(
            [None, Some(100), Some(4096), Some(0)].map(|limit| answers.expected(limit)),
            [256, 100, 256, 0]
        );
        for _ in 0..100 {
            answers.learn(Some(1000), 100);
        }
        assert_eq!(answers.expected(Some(1000)), 100);
        assert_eq!(answers.expected(Some(600)), 60, "the same part of a limit like it");
        assert_eq!(
            [Some(4096), Some(50), None].map(|limit| answers.expected(limit)),
            [100, 50, 100],
            "no more is known"
        );
        (0..100).for_each(|_| answers.learn(None, 7));
        assert_eq!([None, Some(1000)].map(|limit| answers.expected(limit)), [7, 100]);
        (0..500).for_each(|_| answers.learn(Some(1000), 900));
        assert!((890..=900).contains(&answers.expected(Some(1000))), "the newest count most");
    }

    proptest! {
        #[test]
        fn an_expectation_is_within_the_limit(seen in vec((any::<Option<u32>>(), any::<u32>()), 0..40), limit: u32) {
            let mut answers = Answers::default();
            seen.into_iter().for_each(|(limit, tokens)| answers.learn(limit, tokens));
            prop_assert!(answers.expected(Some(limit)) <= limit);
        }
    }
}
