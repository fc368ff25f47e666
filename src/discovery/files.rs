//! The sources of nodes that are files: each is read again when it has changed.
//!
//! inotify tells of changes in the folders on the way to a file, and their metadata are looked at from time to time besides, for not
//! every file system tells. One that is being written is read once it has stayed the same for a moment.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::config::{FoundNode, Origin, Pool as Conf, Problems, Source, Stamp};
use crate::fleet::Pool;
use crate::journal::{announce_not_found, use_found};
use crate::live::Live;
use crate::sources::Trouble;

/// Folders are watched anew so often.
const AGAIN: Duration = Duration::from_secs(5);
/// Files are looked at so often, whatever inotify tells.
const TICK: Duration = Duration::from_millis(500);
/// A file that has changed is read once it has stayed the same for so long.
const STEADY: Duration = Duration::from_millis(100);

/// The background service that looks at the files.
pub struct NodeFiles {
    live: Arc<Live>,
}

/// A file, by the name of the pool that it is a source of.
type Id = (Arc<str>, PathBuf);

/// The state of a file.
#[derive(Debug, Default)]
struct Looks {
    /// As it was read; `None`: it was not read yet.
    read: Option<Stamp>,
    /// As it was a moment ago.
    last: Option<Stamp>,
}

/// What follows from a look at a file.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Same,
    /// It has changed just now, and may be about to change again.
    Unsteady,
    Read,
}

impl Looks {
    fn look(&mut self, now: Stamp) -> Look {
        let last = self.last.replace(now.clone());
        if self.read.as_ref() == Some(&now) {
            return Look::Same;
        }
        if self.read.is_some() && last != Some(now.clone()) {
            return Look::Unsteady;
        }
        self.read = Some(now);
        Look::Read
    }
}

/// All files, as they were when they were looked at last.
#[derive(Debug, Default)]
struct Files {
    known: HashMap<Id, Looks>,
    /// The generation whose settings they were read with.
    generation: u64,
}

impl NodeFiles {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    /// Looks at all files, and reads those that have changed. `true`: one of them is to be looked at again in a moment.
    fn round(&self, files: &mut Files) -> bool {
        let fleet = self.live.fleet();
        let is_new = std::mem::replace(&mut files.generation, fleet.generation) != fleet.generation;
        let mut before = std::mem::take(&mut files.known);
        let mut is_unsteady = false;
        for member in &fleet.pools {
            for path in paths(&member.conf) {
                let id = (Arc::clone(member.pool.name()), path.to_owned());
                // by another config the same text may be wrong, and a pool may have forgotten what it was told
                let mut looks = before.remove(&id).filter(|_| !is_new).unwrap_or_default();
                match looks.look(Stamp::of(path)) {
                    Look::Same => {}
                    Look::Unsteady => is_unsteady = true,
                    Look::Read => read(&member.pool, &member.conf, path),
                }
                files.known.insert(id, looks);
            }
        }
        is_unsteady
    }
}

fn paths(conf: &Conf) -> impl Iterator<Item = &Path> {
    conf.sources.iter().filter_map(|source| match source {
        Source::File(file) => Some(&*file.path),
        Source::Dns(_) | Source::Registered(_) => None,
    })
}

fn read(pool: &Pool, conf: &Conf, path: &Path) {
    let (origin, now) = (Origin::File(path.into()), Instant::now());
    match FoundNode::load(path, conf) {
        Ok(nodes) => _ = use_found(pool, &origin, nodes, now),
        Err(problems) => announce_not_found(pool, &origin, trouble(&problems), now),
    }
}

/// The first problem, for it is one line.
fn trouble(problems: &Problems) -> Trouble {
    let text = problems.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    match problems.list.len() + problems.omitted {
        0 | 1 => Trouble(first.into()),
        all => Trouble(format!("{first} (the first of {all} problems)").into()),
    }
}

/// inotify, on the folders of the files.
struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// `None`: there is no inotify, which happens where others use up all that there are.
    fn new(wake: &Arc<Notify>) -> Option<Self> {
        let wake = Arc::clone(wake);
        let tell = move |event: notify::Result<notify::Event>| {
            let is_reading = event.is_ok_and(|event| is_reading(&event.kind));
            if !is_reading {
                wake.notify_one();
            }
        };
        match notify::recommended_watcher(tell) {
            Ok(watcher) => Some(Self { watcher, watched: BTreeSet::new() }),
            Err(error) => {
                log::warn!(
                    "inotify cannot be used: {error}; files of nodes are looked at every {TICK:?} alone"
                );
                None
            }
        }
    }

    /// Watches the folders of these files, and those that links lead to, anew: one that was replaced is another folder.
    fn watch<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let folder = |path: &Path| match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Some(PathBuf::from(".")),
            folder => folder.map(Path::to_owned),
        };
        let all = files.flat_map(|path| {
            let real = path.canonicalize().ok().and_then(|real| folder(&real));
            folder(path).into_iter().chain(real)
        });
        let wanted: BTreeSet<_> = all.collect();
        for folder in &self.watched {
            let _ = self.watcher.unwatch(folder);
        }
        self.watched = wanted;
        for folder in &self.watched {
            if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                log::debug!("{}: inotify: {error}; looked at every {TICK:?} alone", folder.display());
            }
        }
    }
}

/// The gateway itself reads the files.
fn is_reading(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(kind) if *kind != AccessKind::Close(AccessMode::Write))
}

#[async_trait]
impl BackgroundService for NodeFiles {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let (mut files, wake) = (Files::default(), Arc::new(Notify::new()));
        let (mut folders, mut watched_at): (Option<Folders>, Option<Instant>) = (None, None);
        let mut generation = 0;
        loop {
            let is_unsteady = self.round(&mut files);
            let now = Instant::now();
            let is_due = watched_at.is_none_or(|watched_at| now >= watched_at + AGAIN)
                || generation != files.generation;
            if files.known.is_empty() {
                folders = None;
            } else if is_due {
                folders = folders.or_else(|| Folders::new(&wake));
                if let Some(folders) = &mut folders {
                    folders.watch(files.known.keys().map(|(_, path)| &**path));
                }
                (watched_at, generation) = (Some(now), files.generation);
                // one that changed before it was watched
                self.round(&mut files);
            }
            if is_unsteady {
                sleep(STEADY).await;
            } else {
                tokio::select! {
                    () = sleep(TICK) => {}
                    // a folder in which much is written wakes no more often than a file that changes
                    () = wake.notified() => sleep(STEADY).await,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_at_once_and_later_when_it_has_come_to_rest() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            Stamp::of(&path)
        };
        let (a, b, c) = (file("a", "1"), file("b", "2"), Stamp::of(&dir.path().join("none")));
        let mut looks = Looks::default();
        let table = [
            (&c, Look::Read),
            (&c, Look::Same),
            (&a, Look::Unsteady),
            (&b, Look::Unsteady),
            (&b, Look::Read),
            (&b, Look::Same),
            (&a, Look::Unsteady),
            (&b, Look::Same),
            (&c, Look::Unsteady),
            (&c, Look::Read),
        ];
        for (at, (stamp, expected)) in table.into_iter().enumerate() {
            assert_eq!(looks.look(stamp.clone()), expected, "look {at}");
        }
    }
}
