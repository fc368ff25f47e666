//! The gateway's own log, on standard error: what `RUST_LOG` says, save that libraries never get below `info`.
//!
//! Pingora's and h2's debug lines show headers, targets with their queries and pieces of answers: credentials and content,
//! which have no place in a log.
//!
//! A command writes at once. The running gateway hands its lines to a thread ([`in_background`]), so that a reader of standard
//! error who has stopped reading stops no request.

mod json;
mod outlet;

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use env_logger::{Builder, Env, WriteStyle};
use jiff::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};

use self::outlet::Outlet;

/// Pingora's messages at these places are silenced: the gateway reports the same more usefully, or they are no fault: a
/// pooled connection that closes at the moment in which it is wanted, a socket that has not been handed over yet.
const DEFAULT: &str = "info,pingora=warn,pingora_core=warn,pingora_core::connectors=off,pingora_proxy=off,\
                       pingora_core::server::transfer_fd=off";
const OWN: &str = "evenkeel";
/// The format, if the command line does not say it.
const FORMAT_VARIABLE: &str = "EVENKEEL_LOG_FORMAT";
/// The longest time that the end of the process waits for the last lines, and that a panic does.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);
const PANIC_WITHIN: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogStyle {
    /// Lines for people
    Text,
    /// An object a line
    Json,
}

struct Logger {
    text: env_logger::Logger,
    json: env_logger::Logger,
    is_json: AtomicBool,
    outlet: Outlet,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// To be called once, before anything is logged. Lines are written at once, as text.
pub fn install() {
    let outlet = Outlet::default();
    let builder = || {
        let mut builder = Builder::from_env(Env::default().default_filter_or(DEFAULT));
        builder.target(env_logger::Target::Pipe(Box::new(outlet.clone())));
        builder
    };
    let mut text = builder();
    if has_colours() {
        text.write_style(WriteStyle::Always);
    }
    let mut json = builder();
    json.format(|out, record| writeln!(out, "{}", json::line(Timestamp::now(), record)));
    let (text, json) = (text.build(), json.build());
    let most = text.filter();
    let logger = LOGGER.get_or_init(|| Logger { text, json, is_json: AtomicBool::new(false), outlet });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(most);
    }
}

/// As env_logger decides it for standard error itself.
fn has_colours() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_auto = std::env::var("RUST_LOG_STYLE").map_or(true, |style| style == "auto");
    is_auto && std::io::stderr().is_terminal() && !is_set("NO_COLOR") && !is("TERM", "dumb")
}

/// The format that was chosen, by the command line or else the environment. The error is a message for people.
pub fn choose(given: Option<LogStyle>) -> Result<LogStyle, String> {
    match (given, std::env::var(FORMAT_VARIABLE)) {
        (Some(given), _) => Ok(given),
        (None, Err(_)) => Ok(LogStyle::Text),
        (None, Ok(name)) => match name.as_str() {
            "" | "text" => Ok(LogStyle::Text),
            "json" => Ok(LogStyle::Json),
            _ => Err(format!("{FORMAT_VARIABLE} is {name:?}; it must be text or json")),
        },
    }
}

pub fn set_style(style: LogStyle) {
    if let Some(logger) = LOGGER.get() {
        logger.is_json.store(style == LogStyle::Json, Ordering::Release);
    }
}

/// From here on a thread writes the lines, and nobody waits for it; lines beyond a bound are dropped. Returns their number, which
/// rises. `log::logger().flush()` waits for the last of them, for a while.
pub fn in_background() -> Arc<AtomicU64> {
    let Some(logger) = LOGGER.get() else { return Arc::default() };
    let tell = |count| {
        log::warn!("{count} lines of this log were dropped: nobody read standard error fast enough");
    };
    if let Err(error) = logger.outlet.start(Box::new(std::io::stderr()), tell) {
        log::error!("a thread for this log cannot be started: {error}; who logs waits for standard error");
    }
    // the usual hook writes to standard error, and would wait for it
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("?");
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        log::error!("thread '{name}' panicked at {place}: {what}{trace}");
        if let Some(logger) = LOGGER.get() {
            logger.outlet.flush_within(PANIC_WITHIN);
        }
    }));
    logger.outlet.lost()
}

/// True if a target may be heard at a level, whatever `RUST_LOG` says.
fn may_speak(target: &str, level: Level) -> bool {
    level <= LevelFilter::Info
        || target == OWN
        || target.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        may_speak(metadata.target(), metadata.level()) && self.text.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if may_speak(record.target(), record.level()) {
            let is_json = self.is_json.load(Ordering::Acquire);
            if is_json { &self.json } else { &self.text }.log(record);
        }
    }

    fn flush(&self) {
        self.outlet.flush_within(FLUSH_WITHIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateway_speaks_below_info() {
        for own in ["evenkeel", "evenkeel::proxy::relay"] {
            assert!(may_speak(own, Level::Trace), "{own}");
        }
        for library in ["pingora_proxy", "h2::codec", "hyper", "evenkeel_other"] {
            assert!(may_speak(library, Level::Info) && !may_speak(library, Level::Debug), "{library}");
        }
    }
}
