//! The pool of a model: exact names first, then patterns, the one that says most before the others, and `*` last.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::config::{Config, Pattern};

/// Pools by their places in the config.
#[derive(Debug)]
pub(super) struct Routes {
    names: HashMap<String, usize>,
    /// Models that are shared between pools, which goes before anything else.
    splits: HashMap<String, Vec<(usize, u32)>>,
    /// In the order in which they are compared.
    patterns: Vec<(Pattern, usize)>,
    any: Option<usize>,
}

impl Routes {
    pub(super) fn of(config: &Config) -> Self {
        let mut names = HashMap::new();
        let mut patterns = Vec::new();
        for (place, conf) in config.pools.iter().enumerate() {
            names.extend(conf.models.names.iter().map(|model| (model.clone(), place)));
            let aliases = conf.models.aliases.keys().filter(|_| conf.models.takes_some());
            names.extend(aliases.map(|alias| (alias.clone(), place)));
            patterns.extend(conf.models.patterns.iter().map(|pattern| (pattern.clone(), place)));
        }
        patterns.sort_by_key(|(pattern, _)| Reverse(pattern.literals()));
        let splits = config.splits.iter().map(|split| (split.model.clone(), split.shares.clone())).collect();
        Self { names, splits, patterns, any: config.pools.iter().position(|conf| conf.models.any) }
    }

    /// The model that a request names makes a difference.
    pub(super) fn depend_on_model(&self) -> bool {
        !self.names.is_empty() || !self.patterns.is_empty() || !self.splits.is_empty()
    }

    pub(super) fn split(&self, model: &str) -> Option<&[(usize, u32)]> {
        self.splits.get(model).map(Vec::as_slice)
    }

    /// The pool for a request that names this model, if any.
    pub(super) fn by_model(&self, model: Option<&str>) -> Option<usize> {
        let named = |model: &str| {
            let by_pattern = || self.patterns.iter().find(|(pattern, _)| pattern.matches(model));
            self.names.get(model).copied().or_else(|| by_pattern().map(|(_, place)| *place))
        };
        model.and_then(named).or(self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(models: &[&str]) -> Routes {
        let pool =
            |(at, models): (usize, &&str)| format!("  p{at}: {{ nodes: [n:1], models: [{models}] }}\n");
        let pools: String = models.iter().enumerate().map(pool).collect();
        let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools:\n{pools}");
        Routes::of(&Config::parse(&text, "t").expect("a config"))
    }

    #[test]
    fn the_pool_of_a_model() {
        let routes = routes(&["\"*\", exact", "\"Qwen/*\", \"*-lora\"", "\"Qwen/*-lora\", \"a*\"", "\"*b\""]);
        assert!(routes.depend_on_model());
        for (model, want) in [
            ("exact", 0),
            ("Qwen/8B", 1),
            ("x-lora", 1),
            ("Qwen/x-lora", 2),
            ("ab", 2),
            ("xb", 3),
            ("other", 0),
            ("", 0),
        ] {
            assert_eq!(routes.by_model(Some(model)), Some(want), "{model}");
        }
        assert_eq!(routes.by_model(None), Some(0));
    }

    #[test]
    fn an_unknown_model_has_none() {
        let named = routes(&["m", "\"n*\""]);
        assert_eq!((named.by_model(Some("o")), named.by_model(None)), (None, None));
        assert!(!routes(&["\"*\""]).depend_on_model());
    }
}
