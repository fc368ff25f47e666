//! Starting and stopping the demo's gateway, nodes and clients, all in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::about::About;
use super::cast::Crowd;
use super::classes::{ClassRow, Spread};
use super::gateway::{self, Running};
use super::picture::Picture;
use super::setup::{Setup, Trouble};
use super::summary::{Part, Summary};
use crate::live::Live;
use crate::server::{Stop, StopHandle};
use crate::sim::load::{Ask, Load, LoadHandle, Target};
use crate::sim::{self, Node, State};

const NAMES: [&str; 2] = ["a", "b"];

/// Everything that runs in the demo.
pub(super) struct Stage {
    live: Arc<Live>,
    nodes: Vec<Node>,
    startup: Duration,
    pub slow_start: Duration,
    crowds: Vec<(Crowd, LoadHandle)>,
    pub about: About,
    began: Instant,
    stop: StopHandle,
    gateway: JoinHandle<()>,
    /// The runtime of the nodes and the clients.
    runtime: Runtime,
}

impl Stage {
    /// Starts everything; returns when the clients have started.
    pub(super) fn start(setup: &Setup) -> Result<Self, Trouble> {
        let failed = |error| Trouble::failure("cannot start", error);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("demo")
            .enable_all()
            .build()
            .map_err(failed)?;
        let _entered = runtime.enter();
        let nodes = NAMES.iter().map(|name| Node::start(options(setup, name)));
        let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let listed: Vec<_> = nodes.iter().map(|node| (node.name().to_owned(), node.addr())).collect();
        let source = PathBuf::from("the demo's configuration");
        let Running { live, stop, thread: gateway, .. } = gateway::start(&setup.config(&listed), source)?;
        let address = setup.reached_at();
        gateway::wait_for(address, &gateway)?;
        let crowds = setup.cast.crowds().into_iter().zip(0..);
        let crowds = crowds.map(|(crowd, seed)| (crowd, load(setup, crowd, seed).start())).collect();
        drop(_entered);
        Ok(Self {
            live,
            nodes,
            startup: setup.times.startup,
            slow_start: setup.slow_start,
            crowds,
            about: About { cast: setup.cast, address, admin: setup.admin },
            began: Instant::now(),
            stop,
            gateway,
            runtime,
        })
    }

    /// A snapshot of the present state.
    pub(super) fn look(&self) -> Picture {
        let now = Instant::now();
        let running = self.nodes.iter().map(|node| node.state() == State::Serving).collect();
        let pool = self.live.fleet().pools.first().map(|member| member.pool.snapshot(now));
        let waiting = pool.as_ref().map(|pool| pool.queue_by_class).unwrap_or_default();
        let classes = self.crowds.iter().filter_map(|(crowd, load)| {
            let class = crowd.class?;
            Some(ClassRow {
                class,
                clients: crowd.clients,
                waiting: waiting[class.place()],
                counts: load.counts(),
                times: Spread::of(load.tally().latencies()),
            })
        });
        Picture {
            at: now,
            elapsed: now.saturating_duration_since(self.began),
            counts: self.crowds.iter().map(|(_, load)| load.counts()).sum(),
            classes: classes.collect(),
            running,
            pool,
        }
    }

    /// Starts no more requests; those in flight are finished.
    pub(super) fn ask_no_more(&self) {
        self.crowds.iter().for_each(|(_, load)| load.stop());
    }

    /// True while the gateway runs.
    pub(super) fn is_alive(&self) -> bool {
        !self.gateway.is_finished()
    }

    /// Kills a node as if by kill -9; it comes back by itself.
    pub(super) fn crash(&self, place: usize) {
        let _entered = self.runtime.enter();
        if let Some(node) = self.nodes.get(place) {
            node.restart(self.startup);
        }
    }

    /// Ends everything: first the load (with `cut`, without waiting for requests in flight), then the gateway.
    pub(super) fn end(self, cut: bool) -> Result<Summary, Trouble> {
        let last = self.look();
        if !self.is_alive() {
            return Err(Trouble::failure(
                "the gateway has ended",
                "its log tells the reason (RUST_LOG=info, --plain)",
            ));
        }
        if cut {
            self.crowds.iter().for_each(|(_, load)| load.cut());
        } else {
            self.ask_no_more();
        }
        let finished = self.crowds.into_iter().map(|(crowd, load)| {
            let report = self.runtime.block_on(load.finish());
            Part { class: crowd.class, report }
        });
        let parts = finished.collect();
        self.stop.stop(Stop::Now);
        let ended = self.gateway.join();
        self.runtime.shutdown_background();
        match ended {
            Ok(()) => Ok(Summary { elapsed: last.elapsed, parts, pool: last.pool }),
            Err(_) => Err(Trouble::failure("the gateway has ended", "it panicked")),
        }
    }
}

fn options(setup: &Setup, name: &str) -> sim::Options {
    // uvicorn's default
    let keepalive = Some(Duration::from_secs(5));
    sim::Options { name: name.to_owned(), step: setup.step, keepalive, ..sim::Options::default() }
}

/// The requests of a crowd; they are the same in every run.
fn load(setup: &Setup, crowd: Crowd, seed: u64) -> Load {
    let ask = Ask::Chat { tokens: setup.tokens, stream: 0.0 };
    let said = crowd.class.map(|class| ("x-priority".to_owned(), class.as_str().to_owned()));
    Load {
        ramp: Duration::from_secs(1),
        headers: said.into_iter().collect(),
        seed,
        ..Load::new(vec![Target::chat(setup.reached_at())], crowd.clients, ask)
    }
}
