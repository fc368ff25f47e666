//! Pools: names whose servers are the same are one pool, as a node's requests are counted in its pool.

use super::super::draft::{Draft, Mapping, Value};
use super::super::note::Kind;
use super::deployment::Deployment;

/// Most pools that the config takes.
pub(super) const POOLS_MAX: usize = 64;
/// Most names of models.
const PARTS_MAX: usize = 1024;

/// A pool to be.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub name: String,
    /// Names as clients use them, each with the server's own.
    pub models: Vec<(String, String)>,
    pub members: Vec<&'a Deployment>,
    /// A part of the requests for this name, in percent, because the servers of another pool call the model otherwise.
    pub share_of: Option<String>,
}

/// All pools, in the order of the file.
pub(super) fn groups<'a>(deployments: &'a [Deployment], draft: &mut Draft) -> Vec<Group<'a>> {
    let mut parts: Vec<Group> = Vec::new();
    for one in deployments {
        let is_same = |group: &&mut Group| group.models == [(one.name.clone(), one.model.clone())];
        let is_full = parts.len() == PARTS_MAX;
        match parts.iter_mut().find(is_same) {
            Some(group) => group.members.push(one),
            None if is_full => {
                let place = one.from.as_ref().map(|from| from.place.clone());
                draft.note(
                    Kind::Left,
                    place,
                    &format!("model_name: {}", one.name),
                    "there are more than 1024 names",
                    "",
                );
            }
            None => {
                let share_of =
                    parts.iter().any(|other| other.models[0].0 == one.name).then(|| one.name.clone());
                let models = vec![(one.name.clone(), one.model.clone())];
                parts.push(Group { name: name_of(&one.name, &parts), models, members: vec![one], share_of });
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for part in parts {
        let shared = part.share_of.is_some()
            || groups.iter().any(|other| other.share_of.as_ref() == Some(&part.models[0].0));
        let is_full = groups.len() == POOLS_MAX;
        let same = groups
            .iter_mut()
            .find(|group| !shared && group.share_of.is_none() && group.addresses() == part.addresses());
        match same {
            Some(group) => group.models.extend(part.models),
            None if is_full => {
                let place =
                    part.members.first().and_then(|one| one.from.as_ref()).map(|from| from.place.clone());
                draft.note(
                    Kind::Left,
                    place,
                    &format!("model_name: {}", part.models[0].0),
                    "a config has at most 64 pools",
                    "",
                );
            }
            None => groups.push(part),
        }
    }
    overlaps(&groups, draft);
    groups
}

/// A name for a pool, out of the characters that a name may have.
fn name_of(model: &str, others: &[Group]) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let plain: String = model.chars().take(100).map(allowed).collect();
    let plain = plain.trim_matches('-');
    let plain = if plain.is_empty() { "all" } else { plain };
    let mut name = plain.to_owned();
    for number in 2.. {
        if !others.iter().any(|other| other.name == name) {
            break;
        }
        name = format!("{plain}-{number}");
    }
    name
}

/// A server in two pools is counted in each for itself.
fn overlaps(groups: &[Group], draft: &mut Draft) {
    for (at, group) in groups.iter().enumerate() {
        let others: Vec<&str> = groups.iter().take(at).flat_map(Group::addresses).collect();
        for one in group.members.iter().filter(|one| others.contains(&&*one.address)) {
            let reason = "this server is in another pool too, as other servers go with it there, and each pool counts its requests for itself";
            let advice = "give it a `max_in_flight` in both, or the same servers to both";
            draft.note(
                Kind::Warning,
                one.address_from.as_ref().map(|from| from.place.clone()),
                "",
                reason,
                advice,
            );
        }
    }
}

impl Group<'_> {
    pub(super) fn addresses(&self) -> Vec<&str> {
        let mut addresses: Vec<&str> = self.members.iter().map(|one| one.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Writes down which requests come here, and the names that the nodes get.
    pub(super) fn choice(&self, pool: &mut Mapping, further: &[(String, String)]) {
        let from = self.members.first().and_then(|one| one.from.clone());
        let text = |text: &str| Value::Text(text.to_owned());
        if self.share_of.is_some() {
            pool.word("models", "off", from.as_ref());
        } else {
            let names = self.models.iter().map(|(name, _)| text(name)).collect();
            pool.set("models", Value::Row(names), from.as_ref());
        }
        let mut aliases = Mapping::default();
        for (name, model) in
            self.models.iter().chain(further).filter(|(name, model)| name != model && !name.contains('*'))
        {
            let found = self.members.iter().find(|one| one.name == *name);
            aliases.text(name, model.clone(), found.and_then(|one| one.from.as_ref()));
        }
        if !aliases.is_empty() {
            pool.set("aliases", aliases.into(), None);
        }
    }

    /// The name of a model as its servers have it.
    pub(super) fn model_of(&self, name: &str) -> Option<&str> {
        self.models.iter().find(|(own, _)| own == name).map(|(_, model)| model.as_str())
    }
}
