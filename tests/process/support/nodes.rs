//! Starting simulated nodes: inside this process if a test needs their statistics, otherwise as separate processes.

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel::sim::{Limits, Node, Options, StepTimes};

use super::ports;
use super::process::Process;

/// A node that takes this long for each token, whatever the load.
pub(crate) fn node(name: &str, step: Duration) -> Node {
    node_at(ports::free(), name, step)
}

/// The same at this address.
pub(crate) fn node_at(listen: SocketAddr, name: &str, step: Duration) -> Node {
    let options = Options {
        listen,
        name: name.to_owned(),
        step: StepTimes { base: step, ..StepTimes::default() },
        limits: Limits { max_seqs: 4096, ..Limits::default() },
        ..Options::default()
    };
    Node::start(options).expect("a free port")
}

/// A process `evenkeel node`, which can be killed.
pub(crate) struct NodeProcess {
    pub address: SocketAddr,
    step: &'static str,
    pub process: Process,
}

impl NodeProcess {
    pub(crate) async fn start(step: &'static str) -> Self {
        Self::start_at(ports::free(), step).await
    }

    async fn start_at(address: SocketAddr, step: &'static str) -> Self {
        let listen = address.to_string();
        let args =
            ["node", "--listen", &listen, "--step-base", step, "--step-per-seq", "0", "--max-seqs", "4096"];
        let process = Process::start(&args);
        super::until("the node listens", || process.stdout().contains("listens on")).await;
        Self { address, step, process }
    }

    /// Starts it again on the same address.
    pub(crate) async fn again(&mut self) {
        *self = Self::start_at(self.address, self.step).await;
    }
}
