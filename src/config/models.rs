//! The schema of the models that a pool serves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::model::Models;
use super::pattern::Pattern;
use super::raw::Raw;
use super::section::Section;
use super::values::{shown, text};

const MODELS_MAX: usize = 1024;
/// The most patterns of all pools: each name that is none of the exact ones is compared with all of them.
const PATTERNS_MAX: usize = 256;
const MODEL_BYTES_MAX: usize = 256;

/// The models of the pools so far.
#[derive(Default)]
pub(super) struct Served {
    /// The pool of each name and pattern.
    pools: HashMap<String, String>,
    patterns: usize,
}

impl Served {
    /// The models of the next pool. No name and no pattern may be in two pools.
    pub(super) fn models(&mut self, s: &mut Section, pool: &str) -> Models {
        let listed = s.list("models", 1..=MODELS_MAX, model).unwrap_or_else(|| vec!["*".to_owned()]);
        let mut models = Models::default();
        for model in listed {
            self.claim(s, &model, pool);
            match model.as_str() {
                "*" => models.any = true,
                _ if model.contains('*') => models.patterns.push(Pattern::new(model)),
                _ => _ = models.names.insert(model),
            }
        }
        let before = self.patterns;
        self.patterns += models.patterns.len();
        // once is enough
        let is_too_many = before <= PATTERNS_MAX && self.patterns > PATTERNS_MAX;
        s.rule("models", &[], !is_too_many, || {
            format!("more than {PATTERNS_MAX} patterns in all pools; list models by name")
        });
        models
    }

    fn claim(&mut self, s: &Section, model: &str, pool: &str) {
        match self.pools.entry(model.to_owned()) {
            Entry::Occupied(other) => {
                let other = other.get();
                let message =
                    || format!("`{model}` is already in pool `{other}`; list each model once, in one pool");
                s.rule("models", &[], false, message);
            }
            Entry::Vacant(free) => _ = free.insert(pool.to_owned()),
        }
    }
}

/// A name, or a pattern.
fn model(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?;
    if name.contains("**") {
        return Err(format!("{} has two `*` side by side; one stands for any characters", shown(raw)));
    }
    if (1..=MODEL_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(name);
    }
    let wanted = "use its name or a pattern such as \"Qwen/*\" (at most 256 bytes), or \"*\" for any";
    Err(format!("{} is not a model; {wanted}", shown(raw)))
}
