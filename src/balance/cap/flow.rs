//! rough

use std::time::Duration;

use super::{CAP_MAX, CAP_MIN};

#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    pub flow: f64,
    pub wait: f64,
    pub pause: f64,
    pub events: f64,
    pub begun: f64,
    pub whole: f64,
    pub open: f64,
}

impl Signs {
    fn add(&mut self, more: Self) {
        self.flow += more.flow;
        self.wait += more.wait;
        self.pause += more.pause;
        self.events += more.events;
        self.begun += more.begun;
        self.whole += more.whole;
        self.open += more.open;
    }
}

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub now: f64,
    is_capped: bool,
    seen: Signs,
    ended: f64,
    area: f64,
    time: f64,
    windows: u32,
    step: f64,
    tolerance: f64,
    before: Option<(f64, f64)>,
}

fn env(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            now: f64::from(CAP_MAX),
            is_capped: false,
            seen: Signs::default(),
            ended: 0.0,
            area: 0.0,
            time: 0.0,
            windows: 0,
            step: 0.02,
            tolerance: 1.0,
            before: None,
        }
    }

    pub(super) fn interrupt(&mut self) {
        self.clear();
        self.before = None;
    }

    fn clear(&mut self) {
        (self.seen, self.ended, self.area, self.time) = (Signs::default(), 0.0, 0.0, 0.0);
    }

    pub(super) fn round(&mut self, signs: Signs, ended: f64, in_flight: u32, passed: Duration) {
        let passed = passed.as_secs_f64();
        self.seen.add(signs);
        self.ended += ended;
        self.area += f64::from(in_flight) * passed;
        self.time += passed;
        let load = self.area / self.time;
        let early = !self.is_capped && self.seen.pause > env("EARLY", 0.02) * self.seen.flow && self.ended >= env("EARLYN", 12.0);
        if !early && self.ended < (load * env("WINDOW", 0.5)).max(12.0) || self.time <= 0.0 {
            return;
        }
        self.judge(load, in_flight);
        self.clear();
    }

    fn judge(&mut self, load: f64, in_flight: u32) {
        self.windows += 1;
        let Signs { flow, wait, pause, events, begun, .. } = self.seen;
        let [flow, wait, pause] = [flow, wait, pause].map(|part| part / self.time);
        let wait = wait.max(0.0);
        let open = self.seen.open / self.time;
        let is_settled = self.is_capped && f64::from(in_flight) <= self.now * 1.05 + 1.0;
        let pause = if is_settled { pause } else { (open - flow).max(0.0) };
        if flow <= 0.0 || begun <= 0.0 {
            return;
        }
        let length = (events / begun).max(1.0);
        let may_wait = self.tolerance * (env("STEPS", 16.0) * flow / length) + env("SLACK", 4.0);
        let may_pause = self.tolerance * env("PAUSE", 0.01) * (flow + pause);
        let waits = wait / may_wait;
        let pauses = pause / may_pause;
        let over = waits.max(pauses);
        let target = load - (wait - may_wait).max(0.0) - pause;
        if std::env::var("SHOW").is_ok() {
            println!("   load {load:.1} flow {flow:.1} wait {wait:.1}/{may_wait:.1} pause {pause:.2}/{may_pause:.2} length {length:.1} now {:.1} target {target:.1} step {:.3} tol {:.1}", self.now, self.step, self.tolerance);
        }
        if !self.is_capped {
            let shows = pauses > 2.0 || waits > 2.0 && self.windows > 2;
            if shows {
                self.is_capped = true;
                self.before = (pauses <= 2.0).then_some((load, flow));
                self.now = (if pauses > 2.0 { target } else { target.max(0.6 * load) }).max(4.0);
                self.step = env("STEP", 0.02);
            }
            return;
        }
        if f64::from(in_flight) > self.now * 1.05 + 1.0 {
            self.now = target.clamp(4.0, f64::from(in_flight));
            return;
        }
        if over > 1.0 {
            if let Some((load0, flow0)) = self.before {
                if load < 0.67 * load0 {
                    if (flow / flow0).ln() < 0.5 * (load / load0).ln() {
                        self.now = load0;
                        self.tolerance = (self.tolerance * 2.0).min(1000.0);
                        self.before = None;
                        return;
                    }
                    self.before = Some((load, flow));
                }
            } else {
                self.before = Some((load, flow));
            }
            self.now = target.max(0.6 * load).max(f64::from(CAP_MIN));
            self.step = env("STEP", 0.02);
        } else {
            self.before = None;
            if load > 0.93 * self.now {
                self.now = (self.now * (1.0 + self.step * (1.0 - over))).min(f64::from(CAP_MAX));
                self.step = if over < 0.25 { (self.step * env("GROW", 1.25)).min(0.5) } else { env("STEP", 0.02) };
                if self.now >= f64::from(CAP_MAX) {
                    self.is_capped = false;
                }
            }
        }
    }
}
