//! Parses and validates the config file: text in, a valid [`Config`] or all [`Problems`] out.
//!
//! Two parsers read the text: one that keeps positions finds the line of each value, and `serde_yaml` reads
//! the values into a raw tree. The schema (`server`, `pools`, `nodes`) then walks that tree, one line per
//! key, so that one run finds every problem; a key that the schema does not ask for is an error. Nothing here
//! depends on the network or the clock; of the environment, [`Config::load`] alone gives the values that a file names, and the
//! content of the files.

mod acme;
mod address;
mod affinity;
mod auto;
mod choice;
mod class;
mod cluster;
mod defaults;
mod edge;
mod environment;
mod found;
mod keys;
mod lines;
mod link;
mod model;
mod models;
mod nodes;
mod nodes_file;
mod outline;
mod outside;
mod pattern;
mod pools;
mod problems;
mod queue;
mod raw;
mod reach;
mod registration;
mod reload;
mod secret;
mod section;
mod server;
mod source;
mod sources;
mod splits;
mod suggest;
#[cfg(test)]
mod tests;
mod tls;
mod together;
mod tracing;
pub mod units;
mod values;

pub use acme::{Auto, Challenge};
pub use address::{HostPort, NodeAddress};
pub use class::{Class, Classes, Deadline};
pub use cluster::{Cluster, Redis};
pub use edge::{Admin, AdminToken, CertificateFiles, ClientAuth, Listening, Role, TlsVersion};
pub use found::FoundNode;

pub use keys::{ApiKey, expiry};
pub use lines::{line_of, located};
pub use link::{Https, Link, NodeKey, NodeTls};
pub use model::{
    AccessLog, Affinity, ApiKeys, Balance, Check, ChosenBy, Client, Config, Engine, HeaderChoice, Health,
    HttpVersion, Listener, LogFormat, LogTarget, MaxInFlight, Metrics, Models, Node, NodeDefaults,
    PassPriority, Pool, Queue, Retry, RetryOn, Server, Shares, Split, Timeouts, Tracing, Weight,
};
pub use nodes::NODES_MAX;
pub use outside::{Stamp, read_file};
pub use pattern::Pattern;
pub use problems::{Problem, Problems};
pub use raw::{Raw, Value as RawValue};
pub use registration::{Claim, ClaimedAddress};
pub use secret::SecretHash;
pub use source::{Ask, DnsSource, FileSource, Origin, Registration, Source};
pub use values::duration_of;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use outside::Outside;
use problems::Collector;
use raw::Value;
use section::{Place, Section};

/// The largest config file, in bytes: enough for some 10000 nodes with all their keys.
const FILE_BYTES_MAX: usize = 4 << 20;

impl Config {
    /// Reads and checks a file of at most 4MiB.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let (text, source) = read_text(path, FILE_BYTES_MAX)?;
        let config = Self::parse_with(&text, &source, &Outside::PROCESS)?;
        Ok(config.beside(path))
    }

    /// Finds the files of `server` and of sources that it names by a relative path from the folder of the config.
    fn beside(mut self, path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new(""));
        let Server { admin, listen, api_keys, state, .. } = &mut self.server;
        let tls = listen.iter_mut().filter_map(|listener| listener.tls.as_mut()).chain(&mut admin.tls);
        let files = tls.flat_map(Listening::files_mut);
        let files = files.chain(admin.tokens.iter_mut().map(|token| &mut token.file));
        let files = files.chain(api_keys.iter_mut().map(|keys| &mut keys.file)).chain(state);
        let sources = self.pools.iter_mut().flat_map(|pool| &mut pool.sources);
        let lists = sources.filter_map(|source| match source {
            Source::File(file) => Some(&mut file.path),
            Source::Dns(_) | Source::Registered(_) => None,
        });
        files.chain(lists).for_each(|file| *file = folder.join(&*file));
        self
    }

    /// Checks a text that knows no variable and no file; `source` is its name in problems.
    pub fn parse(text: &str, source: &str) -> Result<Self, Problems> {
        Self::parse_with(text, source, &Outside::NOTHING)
    }

    /// Checks a text as [`Self::load`] checks a file: it may name variables and files of this process.
    pub fn parse_here(text: &str, source: &str) -> Result<Self, Problems> {
        Self::parse_with(text, source, &Outside::PROCESS)
    }

    fn parse_with(text: &str, source: &str, outside: &Outside) -> Result<Self, Problems> {
        let problems = Collector::default();
        let config = read(text, outside, &problems);
        let notices = problems.notices(source);
        problems.finish(config, source).map(|config| Self { notices, ..config })
    }
}

/// The same of a plain file: to open a pipe could take for ever.
fn read_plain(path: &Path, bytes_max: usize) -> Result<(String, String), Problems> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(single(0, "cannot be read: it is not a file".to_owned(), &path.display().to_string()))
        }
        _ => read_text(path, bytes_max),
    }
}

/// The text of a file and its name in problems, of at most one byte more than this.
fn read_text(path: &Path, bytes_max: usize) -> Result<(String, String), Problems> {
    let source = path.display().to_string();
    let bytes = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => Ok((text, source)),
        Ok(Err(error)) => Err(not_utf8(&error, &source)),
        Err(error) => Err(single(0, format!("cannot be read: {error}"), &source)),
    }
}

fn read(text: &str, outside: &Outside, problems: &Collector) -> Option<Config> {
    if text.len() > FILE_BYTES_MAX {
        problems.add("", 0, "is larger than 4MiB");
        return None;
    }
    let mut raw = raw::parse(text, problems)?;
    environment::expand(&mut raw, "", outside.variable, problems);
    if !problems.is_empty() {
        // values that are not known would only give further problems
        return None;
    }
    let root = Place::root(&raw, problems);
    if raw.value == Value::Null {
        root.problem("is empty; the smallest config has `server: { listen: ... }` and `pools`");
        return None;
    }
    Some(root.section()?.finish(|s| config(s, outside)))
}

fn config(s: &mut Section, outside: &Outside) -> Config {
    let server = s.section("server", server::server);
    let place = s.required("pools", "name at least one pool with its nodes");
    let pools = place.as_ref().map(|place| pools::pools(place, &server.listen, outside)).unwrap_or_default();
    let splits = splits::splits(s, &pools);
    if let Some(place) = &place {
        choice::check_reached(place, &pools, &splits);
    }
    let cluster = s.take("cluster").and_then(|place| together::cluster(&place));
    Config { server, pools, splits, cluster, notices: Vec::new() }
}

fn not_utf8(error: &std::string::FromUtf8Error, source: &str) -> Problems {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
    single(line, "is not UTF-8 text".to_owned(), source)
}

fn single(line: usize, message: String, source: &str) -> Problems {
    let line = Some(line).filter(|line| *line > 0);
    let problem = Problem { path: String::new(), line, message };
    Problems { source: source.to_owned(), list: vec![problem], omitted: 0 }
}
