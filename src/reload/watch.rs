//! The watch: files that the config names, such as certificates, are read again when they have changed, and so is the config itself
//! where the command line says so.
//!
//! Their metadata are looked at once a second. Two files that belong together are rarely replaced in one instant, so nothing is
//! read until they have stayed the same for a second.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

use super::Reloader;
use crate::config::Stamp;
use crate::live::Live;

const TICK: Duration = Duration::from_secs(1);

/// The background service that looks at the files.
pub struct FileWatch {
    live: Arc<Live>,
    reloader: Arc<Reloader>,
    /// The config's own file; `None`: only a signal reloads it.
    config: Option<Watched>,
}

/// A file that is read again when it has changed since this was made, so that no change is lost between a first reading and the watch.
#[derive(Clone, Debug)]
pub struct Watched {
    path: PathBuf,
    read: Stamp,
}

impl Watched {
    /// To be called before the file is read.
    pub fn before_reading(path: PathBuf) -> Self {
        Self { read: Stamp::of(&path), path }
    }
}

impl FileWatch {
    /// A watch of what the config names, and of `config` where it is given.
    pub fn new(live: Arc<Live>, reloader: Arc<Reloader>, config: Option<Watched>) -> Self {
        Self { live, reloader, config }
    }

    fn config(&self) -> Option<Stamp> {
        self.config.as_ref().map(|config| Stamp::of(&config.path))
    }

    /// Those of certificates and tokens.
    fn material(&self) -> Vec<Stamp> {
        self.live.material.load().files().iter().map(|file| Stamp::of(file)).collect()
    }

    /// That of the clients' keys, with its name: a reload may name another.
    fn keys(&self) -> Option<(PathBuf, Stamp)> {
        let fleet = self.live.fleet();
        fleet.config.server.api_keys.as_ref().map(|keys| (keys.file.clone(), Stamp::of(&keys.file)))
    }
}

#[async_trait]
impl BackgroundService for FileWatch {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut config = Looks::new(self.config.as_ref().map(|config| config.read.clone()));
        let (mut material, mut keys) = (Looks::new(self.material()), Looks::new(self.keys()));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            // the problems are in the log and in the status already. The config goes first: it may name files that come with it
            if config.have_changed(self.config()) {
                let _ = self.reloader.reload();
            }
            if material.have_changed(self.material()) {
                let _ = self.reloader.renew();
            }
            if keys.have_changed(self.keys()) {
                self.reloader.reload_keys();
            }
        }
    }
}

/// The decision when to read files again.
#[derive(Debug)]
struct Looks<S> {
    /// As they were read.
    read: S,
    /// As they were a moment ago.
    last: S,
}

impl<S: PartialEq + Clone> Looks<S> {
    fn new(now: S) -> Self {
        Self { read: now.clone(), last: now }
    }

    /// They differ from those that were read, and have done so since the last look: they count as read now.
    fn have_changed(&mut self, now: S) -> bool {
        let is_steady = now == self.last;
        let changed = is_steady && now != self.read;
        if changed {
            self.read = now.clone();
        }
        self.last = now;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::Looks;

    #[test]
    fn files_are_read_once_they_have_come_to_rest() {
        let mut looks = Looks::new(1);
        let table =
            [(1, false), (2, false), (3, false), (3, true), (3, false), (4, false), (3, false), (3, false)];
        for (at, (stamp, changed)) in table.into_iter().enumerate() {
            assert_eq!(looks.have_changed(stamp), changed, "look {at}");
        }
    }
}
