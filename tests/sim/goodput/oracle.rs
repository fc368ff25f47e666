//! The best that is known: policies that are told the speed of each node and how engines work, each tuned on a grid.

use evenkeel::sim::{Step, StepTimes};

use super::engines::{Dispatch, Node, Scene, run};

/// The way in which one request finds its node.
#[derive(Clone, Debug)]
pub(crate) enum Policy {
    /// Least in flight, with fixed weights.
    Weights(Vec<f64>),
    /// The node where it will be done first, if all that are there stay.
    ShortestFinish { step: StepTimes, max_seqs: usize },
    /// One line for all; a node takes from it while it has fewer than its limit.
    Central(Vec<usize>),
}

impl Dispatch for Policy {
    fn place(&mut self, _request: usize, nodes: &[Node], _now: f64) -> Option<usize> {
        let with_this = |i: usize| (nodes[i].in_flight + 1) as f64;
        let policy = &*self;
        let score = |i: usize| match policy {
            Self::Weights(weights) => with_this(i) / weights[i],
            Self::Central(limits) => with_this(i) / limits[i] as f64,
            Self::ShortestFinish { step, max_seqs } => {
                let running = (nodes[i].in_flight + 1).min(*max_seqs);
                // those that do not run wait for their turns
                step.step(Step { sequences: running, prompt_tokens: 0 }, nodes[i].speed).as_secs_f64()
                    * with_this(i)
                    / running as f64
            }
        };
        let has_room = |i: &usize| match policy {
            Self::Central(limits) => nodes[*i].in_flight < limits[*i],
            _ => true,
        };
        let is_up = |i: &usize| nodes[*i].is_up;
        (0..nodes.len()).filter(is_up).filter(has_room).min_by(|a, b| score(*a).total_cmp(&score(*b)))
    }
}

/// The policies that are tried. Weights and limits are powers of the speeds: for two nodes those are all ratios.
fn policies(scene: &Scene) -> Vec<Policy> {
    let powers = |power: f64| scene.speeds.iter().map(|speed| speed.powf(power)).collect::<Vec<_>>();
    let mut policies = vec![Policy::ShortestFinish { step: scene.step, max_seqs: scene.limits.max_seqs }];
    policies.extend((0..=12).map(|quarters| Policy::Weights(powers(f64::from(quarters) / 4.0))));
    for power in [0.5, 0.75, 1.0, 1.25, 1.5] {
        let shares = powers(power);
        let all: f64 = shares.iter().sum();
        for part in [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0] {
            let room = part * scene.at_once as f64;
            let limit = |share: &f64| ((share / all * room).round() as usize).max(1);
            policies.push(Policy::Central(shares.iter().map(limit).collect()));
        }
    }
    policies
}

/// The shortest wall time, and whose it was.
pub(crate) fn best(scene: &Scene) -> (f64, Policy) {
    let wall = |mut policy: Policy| (run(scene, &mut policy).wall, policy);
    let all = policies(scene).into_iter().map(wall);
    all.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are policies")
}
