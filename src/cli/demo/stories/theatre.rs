//! Plays a story: starts nodes, gateway and clients, brings the trouble, and ends all of it.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::super::gateway::{self, Running};
use super::super::setup::Trouble;
use super::script::{Act, Crowd, Script};
use crate::server::Stop;
use crate::sim::load::{Ask, Counts, Load, LoadHandle, Target};
use crate::sim::{self, Fault, Node, StepTimes};
use crate::status::Cause;

const STEP: StepTimes = StepTimes {
    base: Duration::from_millis(20),
    per_seq: Duration::from_micros(300),
    per_prompt_token: Duration::ZERO,
};

/// A speed at which a step takes more than an hour.
const HANGS: f64 = 1e-6;

/// A story that is being played.
pub(super) struct Theatre {
    script: Script,
    nodes: Vec<Node>,
    gateway: Running,
    loads: Vec<LoadHandle>,
    /// The gateway's file.
    file: PathBuf,
    config: String,
    began: Instant,
    /// The acts that have been played.
    played: usize,
    runtime: Runtime,
}

/// The addresses of its gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

impl Theatre {
    /// `folder`: for the gateway's file; it must be there.
    pub(super) fn open(script: Script, addresses: Addresses, folder: &Path) -> Result<Self, Trouble> {
        let failed = |error| Trouble::failure("cannot start", error);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let entered = runtime.enter();
        let start = |part: &super::script::Part| {
            let (name, limits) = (part.name.to_owned(), part.limits);
            Node::start(sim::Options { name, limits, step: STEP, ..sim::Options::default() })
        };
        let nodes = script.nodes.iter().map(start).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let (config, file) = (config(&script, &listed(&nodes), addresses), folder.join("evenkeel.yaml"));
        fs::write(&file, &config).map_err(failed)?;
        let gateway = gateway::start(&config, file.clone())?;
        gateway::wait_for(addresses.listen, &gateway.thread)?;
        let loads = script.crowds.iter().zip(0..);
        let loads = loads.map(|(crowd, seed)| load(*crowd, addresses.listen, seed).start()).collect();
        drop(entered);
        let began = Instant::now();
        Ok(Self { script, nodes, gateway, loads, file, config, began, played: 0, runtime })
    }

    /// Plays what is due; returns it.
    pub(super) fn play(&mut self) -> Vec<Act> {
        let time = self.began.elapsed();
        let due = self.script.acts.iter().skip(self.played).take_while(|(at, _)| *at <= time);
        let due: Vec<_> = due.map(|(_, act)| act.clone()).collect();
        self.played += due.len();
        due.iter().for_each(|act| self.perform(act));
        due
    }

    fn perform(&self, act: &Act) {
        let _entered = self.runtime.enter();
        let node = |place: &usize| self.nodes.get(*place);
        match act {
            Act::Crash(place, away) => node(place).iter().for_each(|node| node.restart(*away)),
            Act::Speed(place, speed) => node(place).iter().for_each(|node| node.set_speed(*speed)),
            Act::Hang(place) => node(place).iter().for_each(|node| node.set_speed(HANGS)),
            Act::Fault(place, text) => {
                let fault = text.parse::<Fault>();
                node(place).into_iter().zip(fault).for_each(|(node, fault)| node.set_fault(fault));
            }
            Act::BadReload => {
                let text = self.config.replacen("    nodes:", "    noods:", 1);
                if fs::write(&self.file, text).is_ok() {
                    // the refusal is what the story is about; the page shows it
                    let _ = self.gateway.reloader.reload();
                }
            }
        }
    }

    pub(super) fn causes(&self) -> Vec<Cause> {
        self.gateway.live.explained(Instant::now()).causes
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.gateway.thread.is_finished()
    }

    /// The clients' results, in words.
    pub(super) fn summary(&self) -> String {
        let counts: Counts = self.loads.iter().map(LoadHandle::counts).sum();
        let Counts { done, failed, .. } = counts;
        format!("{done} requests answered, {failed} failed, in {:.0} s", self.began.elapsed().as_secs_f64())
    }

    pub(super) fn end(self) {
        self.loads.iter().for_each(LoadHandle::cut);
        self.gateway.stop.stop(Stop::Now);
        // what it has to say of its end, it has logged
        let _ = self.gateway.thread.join();
        self.runtime.shutdown_background();
    }
}

fn load(crowd: Crowd, address: SocketAddr, seed: u64) -> Load {
    let ask = Ask::Chat { tokens: crowd.tokens, stream: 1.0 };
    let field = crowd.field.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Load {
        ramp: Duration::from_secs(2),
        headers: field.into_iter().collect(),
        seed,
        ..Load::new(vec![Target::chat(address)], crowd.clients, ask)
    }
}

fn listed(nodes: &[Node]) -> Vec<(&str, SocketAddr)> {
    nodes.iter().map(|node| (node.name(), node.addr())).collect()
}

fn config(script: &Script, nodes: &[(&str, SocketAddr)], Addresses { listen, admin }: Addresses) -> String {
    let mut text = format!(
        "server: {{ listen: \"{listen}\", admin: \"{admin}\", threads: 2, access_log: {{ format: off }} }}\npools:\n  demo:\n{}    nodes:\n",
        script.pool
    );
    let comma = if script.node.is_empty() { "" } else { ", " };
    for (name, address) in nodes {
        // writing to a String cannot fail
        let _ = writeln!(text, "      - {{ name: {name}, address: \"{address}\"{comma}{} }}", script.node);
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::Tale;
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_configs_are_valid_and_the_mistake_is_one() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { listen: address(1), admin: address(2) };
        let nodes = [("a", address(3)), ("b", address(4)), ("c", address(5))];
        for tale in Tale::value_variants() {
            let text = config(&tale.script(), &nodes, addresses);
            Config::parse(&text, "a story").unwrap_or_else(|problems| panic!("{tale:?}: {problems}"));
            let wrong = text.replacen("    nodes:", "    noods:", 1);
            assert!(Config::parse(&wrong, "a story").is_err(), "{tale:?}");
        }
    }
}
