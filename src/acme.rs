//! Certificates from an ACME server (RFC 8555), for `tls.auto`: the first one, and another before that ends.
//!
//! A background service with one order at a time. The certificate in use stays until there is a better one, whatever fails.

mod account;
mod failure;
mod http;
mod order;
mod say;
mod when;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{sleep, timeout};

use self::failure::Failure;
use self::when::Plan;
use crate::live::Live;
use crate::tls::{Auto, Renewed, folder};

/// Interval at which the service looks whether an order is due, or a reload has brought another config.
const TICK: Duration = Duration::from_secs(1);
/// The longest time of one attempt; servers take seconds.
const ATTEMPT_MAX: Duration = Duration::from_mins(5);

/// The background service that gets certificates.
pub struct Acme {
    live: Arc<Live>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the file of the certificate.
    plans: HashMap<PathBuf, Plan>,
    /// Those that were there at the last look. A reload may bring new ones.
    seen: Vec<Arc<Auto>>,
    generation: u64,
}

impl Acme {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, known: Mutex::default() }
    }

    /// Brings the plans up to date with the config. The certificate whose order is due, if there is one.
    fn look(&self, now: SystemTime) -> Option<Arc<Auto>> {
        let material = self.live.material.load();
        let generation = self.live.fleet().generation;
        let mut known = self.known.lock();
        let Known { plans, seen, generation: last } = &mut *known;
        let is_reloaded = std::mem::replace(last, generation) != generation;
        let autos = material.tls.autos();
        for auto in autos {
            let plan = plans.entry(auto.conf().file()).or_insert_with(|| Plan::new(now));
            // one that is new here was perhaps read just before an order ended; where one is due, another gateway may have been faster
            let is_new = !seen.iter().any(|seen| Arc::ptr_eq(seen, auto));
            if (is_new || plan.is_due(now)) && auto.reread(now) {
                say::found(auto);
            }
            plan.look(auto.validity(), now, fastrand::f64());
            if is_reloaded {
                plan.reloaded(now);
            }
        }
        plans.retain(|file, _| autos.iter().any(|auto| auto.conf().file() == *file));
        *seen = autos.to_vec();
        let due =
            autos.iter().find(|auto| plans.get(&auto.conf().file()).is_some_and(|plan| plan.is_due(now)));
        let due = due.cloned();
        self.show(plans);
        due
    }

    fn show(&self, plans: &HashMap<PathBuf, Plan>) {
        let mut renewals = self.live.renewals.lock();
        renewals.retain(|file, _| plans.contains_key(file));
        for (file, plan) in plans {
            renewals.entry(file.clone()).or_default().next_attempt = Some(plan.next());
        }
    }

    async fn attempt(&self, auto: &Auto) {
        let file = auto.conf().file();
        let ordered = timeout(ATTEMPT_MAX, order::certificate(&self.live.challenges, auto.conf())).await;
        self.live.challenges.clear();
        let now = SystemTime::now();
        let ordered = ordered.unwrap_or_else(|_| Err(Failure::slow(ATTEMPT_MAX)));
        let checked = ordered.and_then(|pem| {
            let renewed = auto.check(pem.as_bytes(), now).map_err(Failure::unusable)?;
            Ok((renewed, folder::write(&file, pem.as_bytes())))
        });
        self.settle(auto, checked, now);
    }

    fn settle(&self, auto: &Auto, got: Result<(Renewed, io::Result<()>), Failure>, now: SystemTime) {
        let file = auto.conf().file();
        let mut known = self.known.lock();
        let Some(plan) = known.plans.get_mut(&file) else { return };
        let mut renewals = self.live.renewals.lock();
        let renewal = renewals.entry(file.clone()).or_default();
        let kept = got.and_then(|(renewed, kept)| {
            auto.install(renewed);
            plan.look(auto.validity(), now, fastrand::f64());
            renewal.last_success = Some(now);
            kept.map_err(|error| Failure::unkept(&file, &error))
        });
        match kept {
            Ok(()) => {
                renewal.last_error = None;
                say::succeeded(auto, plan.next());
            }
            Err(failure) => {
                if !failure.is_only_unkept {
                    plan.failed(now, failure.pause, fastrand::f64());
                }
                renewal.failures += 1;
                renewal.last_error = Some(failure.text.clone());
                say::failed(auto, &failure, plan.next(), now);
            }
        }
        renewal.next_attempt = Some(plan.next());
    }
}

#[async_trait]
impl BackgroundService for Acme {
    /// Ends with the listeners: no answer would reach the server after that.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let work = async {
            loop {
                if let Some(auto) = self.look(SystemTime::now()) {
                    self.attempt(&auto).await;
                }
                sleep(TICK).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = shutdown.wait_for(|stops| *stops) => self.live.challenges.clear(),
        }
    }
}
