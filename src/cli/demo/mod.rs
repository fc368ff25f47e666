//! `evenkeel demo`: runs the gateway, two simulated nodes and some clients in one process, and crashes the nodes.
//!
//! Only the crashes are staged: the gateway is the one that `run` starts, and every number comes from its own snapshot
//! or from the clients' results. The clients do not stream, because by default a stream that has begun cannot move to
//! another node.

mod about;
mod cast;
mod class_table;
mod classes;
mod gateway;
mod history;
mod journal;
mod picture;
mod plain;
mod record;
mod screen;
mod setup;
mod show;
mod stage;
mod stories;
mod story;
mod summary;
mod svg;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::LevelFilter;

use crate::cli::tty;
use crate::server::signals;
use plain::Plain;
use record::Recorder;
use setup::{Setup, Trouble};
use show::{Ended, Face};
use stage::Stage;
use stories::{Addresses, Tale};
use story::Story;
use terminal::Terminal;

/// The exit code of a program ended by SIGINT, as shells have it.
const EXIT_INTERRUPTED: i32 = 130;

const AFTER_HELP: &str = "\
Examples:
  evenkeel demo
  evenkeel demo --classes
  evenkeel demo --story hang
  evenkeel demo --plain --seconds 60

q in the table, Ctrl-C or SIGTERM ends it; a second signal ends it at once.
Exit codes: 0 no client saw a failure, 1 one did or the demo cannot start, 2 unknown argument,
64 cannot listen on this address, 130 ended at once";

/// Show the gateway at work: two simulated nodes, some clients, and a node that crashes
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DemoArgs {
    /// Listen on this address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9999")]
    listen: SocketAddr,
    /// Show the line and two classes: a batch of 40 clients waits for nodes that take 8 requests at a time, 3 people do not
    #[arg(long)]
    classes: bool,
    /// Play a trouble that people have with a fleet, to be seen on the gateway's page
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["classes", "record"])]
    story: Option<Tale>,
    /// The gateway's page and API; port 0 takes a free one [default: 127.0.0.1:9990]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Print lines instead of the live table (the default where there is no terminal)
    #[arg(long)]
    plain: bool,
    /// End after this many seconds, with a summary [default: at q or Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// Write the table into this file as an animated SVG instead of showing it
    #[arg(long, value_name = "FILE", hide = true, requires = "seconds", conflicts_with = "plain")]
    record: Option<PathBuf>,
}

/// Runs until the time is over, a key is pressed or a signal comes; exits with 1 if any client saw a failure.
pub fn run(args: &DemoArgs, registered: signals::Registered) -> ExitCode {
    let table = !args.plain && args.record.is_none() && io::stdout().is_terminal();
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
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    registered.on_stop(move || {
        if asked.swap(true, Ordering::AcqRel) {
            // a second signal exits at once
            tty::restore();
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    let limit = args.seconds.map(Duration::from_secs);
    if let Some(tale) = args.story {
        let admin = args.admin.unwrap_or(setup::ADMIN);
        let addresses = Addresses {
            listen: setup::free(args.listen, setup::LISTEN)?,
            admin: setup::free(admin, setup::ADMIN_OPTION)?,
        };
        return stories::play(tale, addresses, limit, &stop).map(|()| ExitCode::SUCCESS);
    }
    let mut setup = if args.classes { Setup::classes(args.listen)? } else { Setup::demo(args.listen)? };
    if let Some(admin) = args.admin {
        setup.admin = Some(setup::free(admin, setup::ADMIN_OPTION)?);
    }
    let mut stage = Stage::start(&setup)?;
    let mut story = Story::new(setup.times);
    let mut face = match &args.record {
        Some(_) => {
            let recorder = Recorder::new(limit.unwrap_or(Duration::MAX), setup.cast);
            Face::Recorder(recorder.map_err(not_recorded)?)
        }
        None if table => Face::Table(Terminal::open()?),
        None => Face::Plain(Plain::new(Box::new(io::stdout()))),
    };
    let ended = show::show(&mut stage, &mut story, &mut face, limit, &stop);
    let panicked = matches!(&face, Face::Table(terminal) if terminal.has_panicked());
    if let (Face::Recorder(recorder), Some(path)) = (&face, &args.record) {
        recorder.save(path).map_err(not_recorded)?;
    }
    // restore the terminal first: the summary belongs on its normal screen
    drop(face);
    let summary = stage.end(ended == Ended::Asked)?;
    print(&summary.to_string());
    let code = if summary.is_clean() && !panicked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(code)
}

fn not_recorded(error: io::Error) -> Trouble {
    Trouble::failure("cannot record", error)
}

/// Silences the gateway's log: it would garble the table, and duplicate the plain lines.
fn quieten(table: bool) {
    if table {
        log::set_max_level(LevelFilter::Off);
    } else if std::env::var_os("RUST_LOG").is_none() {
        log::set_max_level(LevelFilter::Error);
    }
}

/// Writes to standard output; a closed pipe must not cause a panic.
fn print(text: &str) {
    use io::Write;
    let _ = io::stdout().write_all(text.as_bytes());
}
