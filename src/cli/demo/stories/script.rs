//! The stories: nodes, clients and the trouble that comes, each as plain values.

use std::fmt;
use std::time::Duration;

use crate::sim::Limits;
use crate::sim::load::Sizes;

/// A trouble that people have with a fleet, to be seen on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Tale {
    /// A node crashes, and comes back
    Crash,
    /// A node becomes slow
    Slow,
    /// An engine hangs, and its health check passes
    Hang,
    /// All nodes are at max_in_flight
    Full,
    /// A node serves another model
    Model,
    /// A reload is refused
    Reload,
    /// A node has more in flight than its KV cache holds
    Thrash,
    /// One prefix is too much for one node
    Prefix,
}

/// A story as it is played.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What is about to happen, and what to look for.
    pub about: &'static str,
    pub nodes: Vec<Part>,
    /// Keys of the pool, as lines of YAML with the indentation of its other keys.
    pub pool: &'static str,
    /// Keys of each node, as in a YAML flow mapping.
    pub node: &'static str,
    pub crowds: Vec<Crowd>,
    /// The trouble, in the order of its times.
    pub acts: Vec<(Duration, Act)>,
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub name: &'static str,
    pub limits: Limits,
}

/// Clients that ask alike, for streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub clients: usize,
    pub tokens: Sizes,
    /// A field of their requests.
    pub field: Option<(&'static str, &'static str)>,
}

/// A trouble. Nodes are named by their places.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// As by kill -9; it is back after the time.
    Crash(usize, Duration),
    Speed(usize, f64),
    /// Its engine makes no step any more; its server goes on.
    Hang(usize),
    /// All new requests end in this way.
    Fault(usize, &'static str),
    /// The file has a mistake, and is reloaded.
    BadReload,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |place: &usize| ["a", "b", "c"].get(*place).copied().unwrap_or("a node");
        match self {
            Self::Crash(place, away) => write!(f, "kills {} (kill -9); it is back in {away:?}", name(place)),
            Self::Speed(place, speed) => write!(f, "makes {} {speed} times as fast", name(place)),
            Self::Hang(place) => write!(f, "makes the engine of {} hang; its server goes on", name(place)),
            Self::Fault(place, fault) => write!(f, "makes {} fail: {fault}", name(place)),
            Self::BadReload => f.write_str("reloads the file with a mistake in it"),
        }
    }
}

/// The time before the trouble.
pub(super) const CALM: Duration = Duration::from_secs(4);
/// The time that a crashed node is away.
const AWAY: Duration = Duration::from_secs(15);
const ANSWERS: Sizes = Sizes::Uniform { min: 60, max: 240 };

fn crowd(clients: usize) -> Crowd {
    Crowd { clients, tokens: ANSWERS, field: None }
}

fn parts(names: &[&'static str]) -> Vec<Part> {
    names.iter().map(|name| Part { name, limits: Limits::default() }).collect()
}

impl Tale {
    pub(super) fn script(self) -> Script {
        let base = Script {
            about: "",
            nodes: parts(&["a", "b", "c"]),
            pool: "",
            node: "",
            crowds: vec![crowd(36)],
            acts: Vec::new(),
        };
        let at = |act| vec![(CALM, act)];
        match self {
            Self::Crash => Script {
                about: "b crashes, is ejected, and comes back gently; its requests go on elsewhere",
                pool: "    retry: { resume: true }\n    health: { fail_timeout: 5s, probe_pass: 2s, slow_start: 20s }\n",
                acts: at(Act::Crash(1, AWAY)),
                ..base
            },
            Self::Slow => Script {
                about: "c becomes three times slower, and the page says which node it is and by how much",
                acts: at(Act::Speed(2, 0.33)),
                ..base
            },
            Self::Hang => Script {
                about: "the engine of b hangs; its health check passes, so nothing else would tell",
                pool: "    health: { check: { path: /health, interval: 1s } }\n",
                acts: at(Act::Hang(1)),
                ..base
            },
            Self::Full => Script {
                about: "more is asked for than the nodes may take: requests wait in line",
                node: "max_in_flight: 6",
                crowds: vec![crowd(40)],
                ..base
            },
            Self::Model => Script {
                about: "b was started with another model: it refuses what the others serve",
                acts: at(Act::Fault(1, "status:404,shape=vllm")),
                ..base
            },
            Self::Reload => Script {
                about: "the config is reloaded with a mistake: the old one stays in use, and the page says where the mistake is",
                acts: at(Act::BadReload),
                ..base
            },
            Self::Thrash => Script {
                about: "c has a small KV cache and no max_in_flight: it preempts its streams, and they pause",
                nodes: thrashing(),
                crowds: vec![Crowd { tokens: Sizes::Uniform { min: 300, max: 500 }, ..crowd(60) }],
                ..base
            },
            Self::Prefix => Script {
                about: "most requests share one session: one node's share is not enough for them",
                pool: "    balance: affinity\n",
                crowds: hot(),
                ..base
            },
        }
    }
}

fn thrashing() -> Vec<Part> {
    let mut parts = parts(&["a", "b", "c"]);
    if let Some(last) = parts.last_mut() {
        last.limits = Limits { kv_tokens: Some(4000), ..Limits::default() };
    }
    parts
}

fn hot() -> Vec<Crowd> {
    let of = |clients, session| Crowd { field: Some(("x-session-id", session)), ..crowd(clients) };
    vec![of(30, "hot"), of(2, "one"), of(2, "two"), of(2, "three")]
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::sim::Fault;

    #[test]
    fn each_story_has_its_nodes() {
        for tale in Tale::value_variants() {
            let script = tale.script();
            assert!(!script.about.is_empty() && !script.crowds.is_empty(), "{tale:?}");
            for (at, act) in &script.acts {
                let (Act::Crash(place, _) | Act::Speed(place, _) | Act::Hang(place) | Act::Fault(place, _)) =
                    act
                else {
                    continue;
                };
                assert!(*place < script.nodes.len() && *at >= CALM, "{tale:?}");
            }
            let faults = script.acts.iter().filter_map(|(_, act)| match act {
                Act::Fault(_, text) => Some(*text),
                _ => None,
            });
            for text in faults {
                assert!(text.parse::<Fault>().is_ok(), "{tale:?}: {text}");
            }
        }
    }
}
