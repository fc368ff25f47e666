use std::process::ExitCode;

use evenkeel::server::signals;

fn main() -> ExitCode {
    // first of all: a SIGHUP that nobody handles would end the process
    let registered = match signals::register() {
        Ok(registered) => registered,
        Err(error) => {
            eprintln!("evenkeel: cannot handle signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,pingora=warn")).init();
    evenkeel::cli::main(registered)
}
