//! The binary: registers the signals first, then sets up the log and runs the command line.

use std::process::ExitCode;

use evenkeel::server::signals;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // first of all: a SIGHUP that nobody handles would end the process
    let registered = match signals::register() {
        Ok(registered) => registered,
        Err(error) => {
            eprintln!("evenkeel: cannot handle signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    evenkeel::cli::logger::install();
    let code = evenkeel::cli::main(registered);
    log::logger().flush();
    code
}
