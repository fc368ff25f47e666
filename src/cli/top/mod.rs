//! `evenkeel top`: the fleet of a running gateway, live on the terminal or as lines.
//!
//! The gateway's answers (`answers`) become a model with rates and silence (`model`), which is drawn as tables (`grid`,
//! `tables`) on a screen (`screen`) or as plain lines (`plain`); all of that is without I/O. Only `fetch` asks, and only `show`
//! has a terminal.

mod answers;
mod app;
mod fetch;
mod grid;
mod head;
mod model;
mod plain;
mod screen;
mod show;
mod tables;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use super::admin::{Admin, AdminArg, exit_code};
use super::check::ConfigArg;
use crate::config::duration_of;
use crate::server::signals;

const AFTER_HELP: &str = "\
Examples:
  evenkeel top                       The gateway of /etc/evenkeel/evenkeel.yaml
  evenkeel top 127.0.0.1:9990        The gateway with this admin address
  evenkeel top --plain -n 1          Its state once, as lines
  evenkeel top --plain --interval 5s Its state every 5 seconds

Keys: Tab other table, j k PgUp PgDn scroll, s S order, / filter, p pause, ? help, q quit.
Exit codes: 0 ended by a key, a signal, --seconds or --count; 1 the gateway did not answer at the end of plain lines, or the
terminal cannot be used; 2 unknown argument; 64 unusable config or address";

/// Watch a running gateway: its nodes, what is wrong with them, the open requests
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct TopArgs {
    /// Ask the gateway at this admin address, HOST:PORT or a URL [default: the one in the config]
    #[arg(value_name = "ADDRESS", conflicts_with = "admin")]
    address: Option<String>,
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    config: ConfigArg,
    /// Print lines instead of the screen (the default where there is no terminal)
    #[arg(long)]
    plain: bool,
    /// Ask so often
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// End after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// End after this many blocks of lines
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Between two questions; the answer for 1000 nodes takes the gateway some milliseconds.
fn interval(text: &str) -> Result<Duration, String> {
    let time = duration_of(text)?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    if range.contains(&time) { Ok(time) } else { Err("not within 100ms and 1h".to_owned()) }
}

/// Runs until a key, a signal, or the end of the time or the count.
pub fn run(args: &TopArgs, registered: signals::Registered) -> ExitCode {
    let stop = show::stop_on(registered);
    let limit = args.seconds.map(Duration::from_secs);
    exit_code(Admin::find(&args.admin, args.address.as_deref(), &args.config.config).and_then(|admin| {
        // blocks are counted only where there are blocks
        if args.plain || args.count.is_some() || !io::stdout().is_terminal() {
            show::plain(&admin, args.interval, limit, args.count, &stop)
        } else {
            show::screen(admin, args.interval, limit, &stop)
        }
    }))
}
