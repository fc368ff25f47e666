//! The schema of the models that a pool serves.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::model::Models;
use super::pattern::Pattern;
use super::problems::plain;
use super::raw::Raw;
use super::section::Section;
use super::values::{count, shown, text};

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
    /// The models of the next pool. No name and no pattern may be in two pools. `takes_any`: any, if it lists none.
    pub(super) fn models(&mut self, s: &mut Section, pool: &str, takes_any: bool) -> Models {
        let usual = || takes_any.then(|| "*".to_owned()).into_iter().collect();
        let listed = s.list_or_off("models", 1..=MODELS_MAX, model).unwrap_or_else(usual);
        let mut models = Models::default();
        for model in listed {
            self.claim(s, &model, pool);
            match model.as_str() {
                "*" => models.any = true,
                _ if model.contains('*') => models.patterns.push(Pattern::new(model)),
                _ => _ = models.names.insert(model),
            }
        }
        models.aliases = self.aliases(s, models.takes_some().then_some(pool));
        let before = self.patterns;
        self.patterns += models.patterns.len();
        // once is enough
        let is_too_many = before <= PATTERNS_MAX && self.patterns > PATTERNS_MAX;
        s.rule("models", &[], !is_too_many, || {
            format!("more than {PATTERNS_MAX} patterns in all pools; list models by name")
        });
        models
    }

    /// An alias is a name like those of `models`, and may stand there too. `pool`: that to which they bring requests.
    fn aliases(&mut self, s: &mut Section, pool: Option<&str>) -> BTreeMap<String, String> {
        let named = s.take("aliases").and_then(|place| {
            let named = place.section()?.named();
            count(named.len(), &(0..=MODELS_MAX), "aliases")
                .map_err(|message| place.problem(message))
                .ok()?;
            Some(named)
        });
        let named = named.unwrap_or_default();
        let mut aliases = BTreeMap::new();
        for (alias, place) in &named {
            let Some(model) = place.read(model_name) else { continue };
            if let Err(message) = check_model(alias) {
                place.problem(message);
            } else if named.iter().any(|(other, _)| *other == model) {
                place.problem(format!("`{model}` is an alias itself; name the model that the nodes serve"));
            }
            if let Some(pool) = pool
                && let owner = self.pools.entry(alias.clone()).or_insert_with(|| pool.to_owned())
                && owner != pool
            {
                place.problem(format!("`{alias}` is already in pool `{owner}`; give each name to one pool"));
            }
            aliases.insert(alias.clone(), model);
        }
        aliases
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

/// A name and no pattern.
fn model_name(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?;
    check_model(&name).map(|()| name)
}

pub(super) fn check_model(name: &str) -> Result<(), String> {
    let fits = (1..=MODEL_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    if fits && !name.contains('*') {
        return Ok(());
    }
    Err(format!("`{}` is not the name of a model: 1 to 256 bytes, without `*`", plain(name, 60)))
}

/// A name, or a pattern.
pub(super) fn model(raw: &Raw) -> Result<String, String> {
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
