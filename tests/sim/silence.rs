//! Streams at work show that their node is; what a stalled node leaves waiting goes elsewhere.

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;

use crate::client::Client;
use crate::node::Weather;
use crate::world::{Due, World};

impl World {
    /// All tokens since the last tick, at once: to those who look each tick it is the same.
    pub(crate) fn stream(&mut self) {
        let now = self.now();
        for node in self.nodes.iter().filter(|node| !node.is_silent()) {
            let Some(first) = node.running.iter().find(|client| self.clients[**client].began()) else {
                continue;
            };
            let client = &mut self.clients[*first];
            if let (Some(journey), Some(attempt)) = (&mut client.journey, &mut client.attempt) {
                journey.progress(attempt, now);
            }
        }
    }

    /// To be called after a tick, which is what finds stalled nodes.
    pub(crate) fn go_elsewhere(&mut self) {
        let now = self.now();
        let running: Vec<usize> = self.nodes.iter().flat_map(|node| &node.running).copied().collect();
        for client in running {
            // each asks for itself, because those that leave take the room that there is elsewhere
            let Client { journey, attempt, .. } = &self.clients[client];
            let (Some(journey), Some(attempt)) = (journey, attempt) else { continue };
            if attempt.status().is_none() && journey.leaves(attempt, now) {
                self.watch.given_up(self.clients[client].node, self.seconds());
                self.fails(client, Outcome::Stalled);
            }
        }
    }

    /// Right after a tick nothing may wait at a silent node for longer than the limit while a node that is up streams.
    pub(crate) fn nobody_hangs(&self) {
        let Some(stall) = self.plan.conf.timeouts.stall else { return };
        let is_up = |node: &usize| self.watch.nodes[*node].state == NodeState::Up;
        let streams = |node: &usize| {
            let begun = self.nodes[*node].running.iter().any(|client| self.clients[*client].began());
            begun && !self.nodes[*node].is_silent()
        };
        let all = || 0..self.nodes.len();
        if !all().filter(is_up).any(|node| streams(&node)) {
            return;
        }
        for node in all().filter(|node| self.nodes[*node].is_silent()) {
            let silent_for = self.seconds() - self.nodes[node].since;
            let running = self.nodes[node].running.iter().map(|client| &self.clients[*client]);
            let waiting = running.filter(|client| !client.began()).filter_map(|client| client.sent_at);
            let waits = waiting.map(|at| self.now() - at).max();
            let waits = waits.unwrap_or_default().as_secs_f64().min(silent_for);
            assert!(
                waits <= stall.as_secs_f64(),
                "node {node} is silent, and somebody waits there for {waits} s"
            );
        }
    }

    /// The node hangs from now on: each of its streams is watched for itself.
    pub(crate) fn streams_stall(&mut self, node: usize) {
        let Some(stall) = self.plan.conf.timeouts.stall else { return };
        for client in self.nodes[node].running.clone() {
            let serial = self.clients[client].serial;
            if self.clients[client].began() {
                let outcome = Outcome::Stalled;
                self.after(stall.as_secs_f64(), Due::Fails { client, serial, outcome });
            }
        }
    }
}

impl crate::node::Node {
    /// True if nothing comes from there.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.weather, Weather::Hung | Weather::Vanished | Weather::Crashed)
    }
}
