use std::process::ExitCode;

use evenkeel::server::signals;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What Pingora says at these places is said by us, in words that tell what to do, or is no fault at all: a pooled
/// connection that closes at the moment in which it is wanted, a socket that has not been handed over yet.
const LOG_DEFAULT: &str = "info,pingora=warn,pingora_core=warn,pingora_core::connectors=off,pingora_proxy=off,\
                           pingora_core::server::transfer_fd=off";

fn main() -> ExitCode {
    // first of all: a SIGHUP that nobody handles would end the process
    let registered = match signals::register() {
        Ok(registered) => registered,
        Err(error) => {
            eprintln!("evenkeel: cannot handle signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOG_DEFAULT)).init();
    evenkeel::cli::main(registered)
}
