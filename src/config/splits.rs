//! The schema of `splits`: models whose requests are shared between pools.

use super::model::{Pool, Split};
use super::models::check_model;
use super::section::Section;
use super::values::{count, integer};

const SPLITS_MAX: usize = 1024;
/// The parts of all pools together.
const WHOLE: u32 = 100;

pub(super) fn splits(s: &mut Section, pools: &[Pool]) -> Vec<Split> {
    let Some(place) = s.take("splits") else { return Vec::new() };
    let named = place.section().map(Section::named).unwrap_or_default();
    if let Err(message) = count(named.len(), &(0..=SPLITS_MAX), "splits") {
        place.problem(message);
        return Vec::new();
    }
    let mut splits = Vec::new();
    for (model, place) in named {
        if let Err(message) = check_model(&model) {
            place.problem(message);
        }
        let parts = place.section().map(Section::named).unwrap_or_default();
        let mut shares = Vec::new();
        for (name, part) in parts {
            let pool = pools.iter().position(|pool| pool.name == name);
            if pool.is_none() {
                part.problem(format!("there is no pool `{name}`"));
            }
            let share = part.read(integer(0..=WHOLE));
            shares.extend(pool.zip(share));
        }
        let whole: u32 = shares.iter().map(|(_, share)| share).sum();
        if whole != WHOLE {
            place.problem(format!("the parts are percent and make {whole}; they must make 100"));
        }
        splits.push(Split { model, shares });
    }
    splits
}
