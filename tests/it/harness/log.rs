//! Everything that the process logs, kept so that tests can look for what must be there, or must not.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Kept;

impl Log for Kept {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        if std::env::var_os("IT_LOG").is_some() {
            eprintln!("{line}");
        }
        LINES.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

/// Of the gateway everything, of the libraries what they find worth a warning.
pub fn install() {
    if log::set_logger(&Kept).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// The lines of all tests so far that hold this text.
pub fn logged(text: &str) -> Vec<String> {
    LINES.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
}
