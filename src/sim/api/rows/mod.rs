//! What each engine says, byte by byte; a row to add for another one.

mod chat;
mod completions;

use super::speech::Speech;
use crate::config::Engine;

/// The row for a path, with or without a final slash: the longest ending decides, then the engine's own row.
pub(crate) fn speech_of(path: &str, engine: Engine) -> Option<&'static Speech> {
    let path = path.trim_end_matches('/');
    let speaks = |speech: &&Speech| speech.engines.is_empty() || speech.engines.contains(&engine);
    let length = |speech: &'static Speech| {
        let fits = speech.paths.iter().filter(|ending| path.ends_with(**ending));
        Some((fits.map(|ending| ending.len()).max()?, speech))
    };
    let fits = all().filter(speaks).filter_map(length);
    let (_, speech) = fits.max_by_key(|(length, speech)| (*length, !speech.engines.is_empty()))?;
    Some(speech)
}

fn all() -> impl Iterator<Item = &'static Speech> {
    [chat::ROWS, completions::ROWS].into_iter().flatten()
}
