//! Reload: read, check, build the next fleet from the old one, swap once, retire what was removed.
//!
//! A bad file changes nothing and is reported. Changes that need a restart are logged. The file of clients' keys is read with it, and
//! by itself when it changes.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

pub use self::watch::{FileWatch, Watched};
use crate::config::{ApiKey, Config, Problems, located};
use crate::history::Mark;
use crate::journal::{AccessLogWriter, announce};
use crate::live::Live;
use crate::material::Material;
use crate::status::Reload;
use crate::tracer::Tracer;

/// All keys of a file, or what is wrong with it.
type ReadKeys = Result<Vec<ApiKey>, Problems>;

/// Those of the file that a config names; `None`: it asks for no keys.
fn keys_of(config: &Config) -> Option<ReadKeys> {
    config.server.api_keys.as_ref().map(|conf| ApiKey::load(&conf.file))
}

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
        let result = Config::load(&self.path).and_then(|config| {
            let keys = self.keys_of_new(&config)?;
            Ok((self.material(&config, now)?, keys, config))
        });
        let result = result.map_err(|problems| (problems, keys_of(&self.live.fleet().config)));
        // from here on nothing is read, for views wait. Hold the lock across the swap, so that nobody sees the new generation with the previous one's error
        let mut reload = self.live.reload.lock();
        reload.at = now;
        match result {
            Ok((material, keys, config)) => {
                self.live.material.store(Arc::new(material));
                self.live.files.lock().error = None;
                let is_open = keys.is_none();
                // before the swap, so that no request asks for a key that is not there yet
                if let Some(keys) = keys {
                    self.settle_keys(keys);
                }
                let generation = self.take_over(config);
                if is_open {
                    self.forget_keys();
                }
                reload.error = None;
                self.mark(Ok(generation));
                log::info!("{}: reloaded, generation {generation}", self.path.display());
                Ok(generation)
            }
            Err((problems, keys)) => {
                reload.failures += 1;
                let text = problems.to_string();
                self.mark(Err(&text));
                reload.error = Some(text);
                let fleet = self.live.fleet();
                let generation = fleet.generation;
                log::error!("reload refused, generation {generation} stays in use:\n{problems}");
                // a rotation must not depend on the state of the file
                self.log.reopen(&fleet.config.server.access_log);
                if let Some(keys) = keys {
                    self.settle_keys(keys);
                }
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
                log::info!(
                    "{}: some of its files have changed, all are in use as they are now: {}",
                    self.path.display(),
                    names.join(", ")
                );
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

    /// Reads the file of keys, if the config names one. One with problems changes nothing, and is reported.
    pub fn reload_keys(&self) {
        let _turn = self.turn.lock();
        match keys_of(&self.live.fleet().config) {
            Some(keys) => self.settle_keys(keys),
            None => self.forget_keys(),
        }
    }

    /// The same when the process starts: one with problems is an error.
    pub fn first_keys(&self) -> Result<(), Problems> {
        let _turn = self.turn.lock();
        if let Some(conf) = &self.live.fleet().config.server.api_keys {
            self.use_keys(ApiKey::load(&conf.file)?);
        }
        Ok(())
    }

    /// The keys for a config that is not in use yet: it is refused as a whole if it names another file, which cannot be read.
    fn keys_of_new(&self, config: &Config) -> Result<Option<ReadKeys>, Problems> {
        let old = self.live.fleet();
        let is_new = old.config.server.api_keys != config.server.api_keys;
        match keys_of(config) {
            Some(Err(problems)) if is_new => Err(problems),
            keys => Ok(keys),
        }
    }

    fn settle_keys(&self, keys: ReadKeys) {
        match keys {
            Ok(keys) => self.use_keys(keys),
            Err(problems) => {
                log::error!("the keys read before stay in use:\n{problems}");
                let mut state = self.live.keys_file.lock();
                let failures = state.as_ref().map_or(0, |state| state.failures) + 1;
                let error = Some(problems.to_string());
                *state = Some(Reload { at: SystemTime::now(), error, failures });
            }
        }
    }

    fn forget_keys(&self) {
        self.live.set_keys(Vec::new(), Instant::now());
        *self.live.keys_file.lock() = None;
    }

    fn material(&self, config: &Config, now: SystemTime) -> Result<Material, Problems> {
        self.live.material.load().next(config, now).map_err(|faults| located(&self.path, faults))
    }

    fn use_keys(&self, keys: Vec<ApiKey>) {
        let count = keys.len();
        let is_new = self.live.set_keys(keys, Instant::now());
        let mut state = self.live.keys_file.lock();
        let (had_error, failures) =
            state.as_ref().map_or((true, 0), |state| (state.error.is_some(), state.failures));
        if is_new || had_error {
            log::info!("keys of clients in use: {count}");
        }
        *state = Some(Reload { at: SystemTime::now(), error: None, failures });
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
        let is_in_cluster = config.cluster.is_some();
        let cluster = config.cluster.as_ref().map(|_| old.bell().cloned().unwrap_or_default());
        let next = old.next_in(cluster, config, now);
        let generation = next.fleet.generation;
        if old.bell().is_some() != is_in_cluster {
            self.live.share_keys(is_in_cluster, now);
        }
        self.live.replace(next, now).iter().for_each(announce);
        self.log.reopen(&access_log);
        generation
    }
}
