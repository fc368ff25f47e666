//! Files that are read again when they change: looked at once a second, so that nobody has to send a signal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

const TICK: Duration = Duration::from_secs(1);

/// The state of a file by which a change shows: its device and number, its size, and the time of its last change. `None`: it cannot
/// be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen(Option<(u64, u64, u64, i64, i64)>);

impl Seen {
    /// Follows links: Kubernetes swaps one to change a file.
    fn of(path: &Path) -> Self {
        let of = |file: fs::Metadata| (file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec());
        Self(fs::metadata(path).ok().map(of))
    }
}

/// The background service that looks at one file.
pub struct FileWatcher {
    file: Box<dyn Fn() -> Option<PathBuf> + Send + Sync>,
    changed: Box<dyn Fn() + Send + Sync>,
    last: Mutex<Option<(PathBuf, Seen)>>,
}

impl FileWatcher {
    /// `file`: the file of now, if there is one. `changed`: called at first, and for each change.
    pub fn new(
        file: impl Fn() -> Option<PathBuf> + Send + Sync + 'static,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { file: Box::new(file), changed: Box::new(changed), last: Mutex::default() }
    }

    fn look(&self) {
        // seen before it is read: what is written meanwhile is seen the next time
        let now = (self.file)().map(|path| (Seen::of(&path), path)).map(|(seen, path)| (path, seen));
        let is_new = {
            let mut last = self.last.lock();
            let is_new = now.is_some() && *last != now;
            *last = now;
            is_new
        };
        if is_new {
            (self.changed)();
        }
    }
}

#[async_trait]
impl BackgroundService for FileWatcher {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn each_change_is_seen_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.yaml");
        let count = Arc::new(AtomicU32::new(0));
        let (watched, counted) = (path.clone(), Arc::clone(&count));
        let watcher = FileWatcher::new(
            move || Some(watched.clone()),
            move || {
                counted.fetch_add(1, Ordering::Relaxed);
            },
        );
        let looks = || {
            watcher.look();
            watcher.look();
            count.load(Ordering::Relaxed)
        };
        assert_eq!(looks(), 1, "at first, be it there or not");
        fs::write(&path, "a").expect("a file");
        assert_eq!(looks(), 2);
        fs::write(folder.path().join("next"), "b").expect("a file");
        fs::rename(folder.path().join("next"), &path).expect("another file of the same size");
        assert_eq!(looks(), 3);
        fs::remove_file(&path).expect("its end");
        assert_eq!(looks(), 4);
    }

    #[test]
    fn nothing_is_read_without_a_file() {
        FileWatcher::new(|| None, || panic!("there is no file")).look();
    }
}
