//! Messages for unknown keys and words, with a suggestion where one is close.

/// Planned keys that this version does not support.
const LATER: [&str; 3] = ["cluster", "discover", "tls"];

/// The message for a key that is not in the schema.
pub(super) fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if key == "<<" {
        return "merge keys are not supported; give a whole section an alias (`health: *name`)".to_owned();
    }
    if LATER.contains(&key) {
        return "is not supported yet; remove it".to_owned();
    }
    match similar(key, known.clone()) {
        Some(word) => format!("unknown key; did you mean `{word}`?"),
        None => format!("unknown key; the keys here are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The end of the message for a value that is not one of the allowed words.
pub(super) fn unknown_word<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let all = known.collect::<Vec<_>>().join(", ");
    if LATER.contains(&word) {
        return format!("is not supported yet; use one of {all}");
    }
    format!("is not one of {all}")
}

/// The known word of which this one is most likely a misspelling.
fn similar<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LENGTH_MAX: usize = 40;
    if word.len() > LENGTH_MAX {
        return None;
    }
    let folded = fold(word);
    let close = |candidate: &&str| {
        let allowed = if candidate.len() > 4 { 2 } else { 1 };
        distance(&folded, &fold(candidate)) <= allowed
    };
    known.filter(close).min_by_key(|candidate| distance(&folded, &fold(candidate)))
}

/// Folds spelling variants together: `max-fails`, `maxFails` and `max_fails` are equal.
fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Levenshtein distance: the number of inserted, deleted and replaced characters.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
