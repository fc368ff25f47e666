//! Capturing the log of the process, so that tests can check its contents. With `IT_LOG` in the environment the log is
//! also shown, including that of the libraries.

use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Kept;

impl Log for Kept {
    /// Everything from the gateway, and warnings from the libraries.
    fn enabled(&self, what: &Metadata) -> bool {
        what.level() <= Level::Warn || what.target().starts_with("evenkeel")
    }

    fn log(&self, record: &Record) {
        if std::env::var_os("IT_LOG").is_some() {
            eprintln!("{} {}: {}", record.level(), record.target(), record.args());
        }
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        LINES.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

pub(super) fn install() {
    if log::set_logger(&Kept).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// The lines of all tests so far that contain this text.
pub(crate) fn logged(text: &str) -> Vec<String> {
    LINES.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
}
