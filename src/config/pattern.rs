//! A pattern of model names.

/// A model name in which each `*` stands for any characters, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// The longest name that is compared with patterns, in bytes: a client may send a megabyte.
const NAME_BYTES_MAX: usize = 4096;

impl Pattern {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// True of a name of at most 4096 bytes that it covers; letters of either case differ.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let (middle, last) =
            rest.rsplit_once('*').map_or((None, rest), |(middle, last)| (Some(middle), last));
        let inner = Some(name).filter(|name| name.len() <= NAME_BYTES_MAX);
        let inner = inner.and_then(|name| name.strip_prefix(first)).and_then(|name| name.strip_suffix(last));
        let Some(mut inner) = inner else { return false };
        // the first place of each part leaves most room to the others
        middle.into_iter().flat_map(|middle| middle.split('*')).all(|part| {
            let found = inner.find(part);
            inner = found.map_or("", |at| &inner[at + part.len()..]);
            found.is_some()
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Characters that stand for themselves: of two patterns, the one with more of them says more.
    pub fn literals(&self) -> usize {
        self.0.chars().filter(|char| *char != '*').count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_patterns() {
        for (pattern, yes, no) in [
            ("Qwen/*", &["Qwen/", "Qwen/Qwen3-8B"][..], &["qwen/x", "x/Qwen/y", "Qwen"][..]),
            ("*-lora", &["-lora", "a-lora-lora"], &["a-lora-1", "lora"]),
            ("gpt-?.*", &["gpt-?.1"], &["gpt-4.1"]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["ab", "acb", "xabc"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("*x*", &["x", "axb"], &["", "ab"]),
            ("a*bc*bc", &["abcbc", "axbcybc"], &["abc"]),
            ("\u{e4}*", &["\u{e4}\u{e4}"], &["a"]),
        ] {
            let pattern = Pattern::new(pattern.to_owned());
            assert!(yes.iter().all(|name| pattern.matches(name)), "{pattern:?}");
            assert!(!no.iter().any(|name| pattern.matches(name)), "{pattern:?}");
        }
        let any = Pattern::new("a*".to_owned());
        assert!(any.matches(&"a".repeat(NAME_BYTES_MAX)) && !any.matches(&"a".repeat(NAME_BYTES_MAX + 1)));
        assert_eq!((any.literals(), Pattern::new("*\u{e4}b*".to_owned()).literals()), (1, 2));
    }

    /// The definition: some split of the name fits.
    fn fits(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|at| fits(rest, &name[at..])),
            [first, rest @ ..] => name.first() == Some(first) && fits(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn as_the_definition_says(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(pattern.clone()).matches(&name), fits(&chars(&pattern), &chars(&name)));
        }
    }
}
