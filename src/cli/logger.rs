//! The gateway's own log: what `RUST_LOG` says, save that libraries never get below `info`.
//!
//! Pingora's and h2's debug lines show headers, targets with their queries and pieces of answers: credentials and content,
//! which have no place in a log.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Pingora's messages at these places are silenced: the gateway reports the same more usefully, or they are no fault: a
/// pooled connection that closes at the moment in which it is wanted, a socket that has not been handed over yet.
const DEFAULT: &str = "info,pingora=warn,pingora_core=warn,pingora_core::connectors=off,pingora_proxy=off,\
                       pingora_core::server::transfer_fd=off";
const OWN: &str = "evenkeel";

struct Logger(env_logger::Logger);

/// To be called once, before anything is logged.
pub fn install() {
    let logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(DEFAULT)).build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Logger(logger))).is_ok() {
        log::set_max_level(most);
    }
}

/// True if a target may be heard at a level, whatever `RUST_LOG` says.
fn may_speak(target: &str, level: Level) -> bool {
    level <= LevelFilter::Info
        || target == OWN
        || target.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        may_speak(metadata.target(), metadata.level()) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if may_speak(record.target(), record.level()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
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
