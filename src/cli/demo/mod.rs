//! `evenkeel demo`: the gateway, two simulated nodes and some clients in one process, and what happens when a node
//! dies.
//!
//! Nothing in it is staged but the crashes: the gateway is the one that `run` runs, every number comes from its own
//! snapshot or from what the clients saw. The clients do not stream, because a stream whose first tokens are out cannot
//! be moved to another node yet.

mod about;
mod bar;
mod history;
mod journal;
mod picture;
mod plain;
mod screen;
mod setup;
mod show;
mod stage;
mod story;
mod summary;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::LevelFilter;

use crate::server::signals;
use plain::Plain;
use setup::{Setup, Trouble};
use show::{Ended, Face};
use stage::Stage;
use story::Story;
use terminal::Terminal;

/// How the shell names a program that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// Show how the gateway works: two simulated nodes, some clients, and a node that crashes
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Where the gateway listens meanwhile
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9999")]
    listen: SocketAddr,
    /// Lines in place of the live table, as where there is no terminal
    #[arg(long)]
    plain: bool,
    /// End after this time, with a summary [default: at q or Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
}

/// Runs until the time is over, a key or a signal; 1 if any client saw a failure.
pub fn run(args: &DemoArgs, registered: signals::Registered) -> ExitCode {
    let table = !args.plain && io::stdout().is_terminal();
    quieten(table);
    match perform(args, table, registered) {
        Ok(code) => code,
        Err(Trouble { code, message }) => {
            eprintln!("evenkeel demo: {message}");
            ExitCode::from(code)
        }
    }
}

fn perform(args: &DemoArgs, table: bool, registered: signals::Registered) -> Result<ExitCode, Trouble> {
    let setup = Setup::demo(args.listen)?;
    let mut stage = Stage::start(&setup)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    registered.on_stop(move || {
        if asked.swap(true, Ordering::AcqRel) {
            // the second one does not wait for anything
            terminal::restore();
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    let limit = args.seconds.map(Duration::from_secs);
    let mut story = Story::new(setup.times);
    let mut face =
        if table { Face::Table(Terminal::open()?) } else { Face::Plain(Plain::new(Box::new(io::stdout()))) };
    let ended = show::show(&mut stage, &mut story, &mut face, limit, &stop);
    let panicked = matches!(&face, Face::Table(terminal) if terminal.has_panicked());
    // the summary belongs on the terminal's own screen
    drop(face);
    let summary = stage.end(ended == Ended::Asked)?;
    print(&summary.to_string());
    let code = if summary.is_clean() && !panicked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(code)
}

/// What the gateway logs would destroy the table, and beside the lines it would say everything twice.
fn quieten(table: bool) {
    if table {
        log::set_max_level(LevelFilter::Off);
    } else if std::env::var_os("RUST_LOG").is_none() {
        log::set_max_level(LevelFilter::Error);
    }
}

/// A reader that has gone is no reason to panic.
fn print(text: &str) {
    use io::Write;
    let _ = io::stdout().write_all(text.as_bytes());
}
