//! Reload: read, check, build the next fleet from the old one, swap once, retire what was removed.
//!
//! A bad file changes nothing and is reported. Changes that need a restart are logged.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

pub use self::watch::FileWatch;
use crate::config::{Config, Problems, located};
use crate::history::Mark;
use crate::journal::{AccessLogWriter, announce};
use crate::live::Live;
use crate::material::Material;
use crate::tracer::Tracer;

/// Reloads the config file into the running gateway.
#[derive(Debug)]
pub struct Reloader {
    live: Arc<Live>,
    log: AccessLogWriter,
    tracer: Tracer,
    path: PathBuf,
    /// One reload at a time.
    turn: Mutex<()>,
}

impl Reloader {
    pub fn new(live: Arc<Live>, log: AccessLogWriter, tracer: Tracer, path: PathBuf) -> Self {
        Self { live, log, tracer, path, turn: Mutex::new(()) }
    }

    /// Loads the file as it is now and puts it in use; returns the new generation.
    pub fn reload(&self) -> Result<u64, Problems> {
        let _turn = self.turn.lock();
        let now = SystemTime::now();
        let result = Config::load(&self.path).and_then(|config| Ok((self.material(&config, now)?, config)));
        // hold the lock across the swap, so that nobody sees the new generation with the previous one's error
        let mut reload = self.live.reload.lock();
        reload.at = now;
        match result {
            Ok((material, config)) => {
                self.live.material.store(Arc::new(material));
                self.live.files.lock().error = None;
                let generation = self.take_over(config);
                reload.error = None;
                self.mark(Ok(generation));
                log::info!("{}: reloaded, generation {generation}", self.path.display());
                Ok(generation)
            }
            Err(problems) => {
                reload.failures += 1;
                let text = problems.to_string();
                self.mark(Err(&text));
                reload.error = Some(text);
                let fleet = self.live.fleet();
                let generation = fleet.generation;
                log::error!("reload refused, generation {generation} stays in use:\n{problems}");
                // a rotation must not depend on the state of the file
                self.log.reopen(&fleet.config.server.access_log);
                Err(problems)
            }
        }
    }

    /// Reads again the files that the config in use names. If something is wrong with them, those that were read before stay.
    pub fn renew(&self) -> Result<(), Problems> {
        let _turn = self.turn.lock();
        let fleet = self.live.fleet();
        let renewed = self.material(&fleet.config, SystemTime::now());
        let mut files = self.live.files.lock();
        match renewed {
            Ok(material) => {
                let names: Vec<_> = material.files().iter().map(|file| file.display().to_string()).collect();
                log::info!("{}: read again, as they have changed: {}", self.path.display(), names.join(", "));
                self.live.material.store(Arc::new(material));
                files.error = None;
                Ok(())
            }
            Err(problems) => {
                log::error!(
                    "files have changed and cannot be used; what they had before stays in use:\n{problems}"
                );
                files.failures += 1;
                files.error = Some(problems.to_string());
                Err(problems)
            }
        }
    }

    fn material(&self, config: &Config, now: SystemTime) -> Result<Material, Problems> {
        Material::load(config, now).map_err(|faults| located(&self.path, faults))
    }

    fn mark(&self, result: Result<u64, &str>) {
        let mut history = self.live.history.lock();
        let at = history.since_start(Instant::now());
        history.mark(Mark::reload(result, at));
    }

    fn take_over(&self, config: Config) -> u64 {
        let old = self.live.fleet();
        for change in old.config.diff_restart(&config) {
            log::warn!("{}: {change}", self.path.display());
        }
        config.notices.iter().for_each(|notice| log::warn!("{notice}"));
        let access_log = config.server.access_log.clone();
        // before the swap, so that no request is traced for nobody
        if let Err(error) = self.tracer.set(config.server.tracing.as_ref()) {
            log::error!("server.tracing: cannot export spans: {error}; they go where they went before");
        }
        let now = Instant::now();
        let next = old.next(config, now);
        let generation = next.fleet.generation;
        self.live.replace(next, now).iter().for_each(announce);
        self.log.reopen(&access_log);
        generation
    }
}
