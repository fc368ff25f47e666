//! Engines and jobs for which a cap matters, or does not. A token stands for four, so that a run takes less.

use std::time::Duration;

use evenkeel::config::{MaxInFlight, Weight};
use evenkeel::sim::load::Sizes;
use evenkeel::sim::{Limits, StepTimes};

use crate::goodput::engines::{Outcome, Scene, Told, run};
use crate::goodput::gateway::Gateway;

/// The kinds of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Short prompts and answers: memory holds more than come.
    Short,
    /// Long prompts and short answers: memory holds about 25, and the time goes into prompts.
    Prompts,
    /// Long answers: memory holds about 60 of them half grown, but the engine lets in more and throws them out again.
    Answers,
    /// Heavy tails of both.
    Mixed,
}

impl Job {
    pub(super) fn sizes(self) -> (Sizes, Sizes) {
        let even = |min, max| Sizes::Uniform { min, max };
        let heavy = |min, max| Sizes::HeavyTailed { min, max, alpha: 1.2 };
        match self {
            Self::Short => (even(12, 50), even(5, 50)),
            Self::Prompts => (even(250, 1000), even(12, 37)),
            Self::Answers => (even(25, 100), even(125, 500)),
            Self::Mixed => (heavy(25, 1000), heavy(10, 250)),
        }
    }
}

/// 3840 requests, 192 at once for each of two nodes.
pub(super) fn scene(job: Job, speeds: &[f64], told: Told, seed: u64) -> Scene {
    let (prompts, sizes) = job.sizes();
    Scene {
        speeds: speeds.to_vec(),
        step: StepTimes {
            base: Duration::from_millis(20),
            per_seq: Duration::from_micros(100),
            per_prompt_token: Duration::from_micros(200),
        },
        limits: Limits { kv_tokens: Some(16 * 1024), step_tokens: Some(512), ..Limits::default() },
        prompts: Some(prompts),
        others: None,
        requests: 1920 * speeds.len(),
        until: f64::MAX,
        at_once: 192 * speeds.len(),
        sizes,
        told,
        changes: Vec::new(),
        seed,
    }
}

pub(super) fn gateway(scene: &Scene, cap: MaxInFlight) -> Gateway {
    Gateway::capped(scene.speeds.len(), Weight::Fixed(1.0), scene.told, cap)
}

pub(super) fn with_cap(scene: &Scene, cap: MaxInFlight) -> Outcome {
    run(scene, &mut gateway(scene, cap))
}
