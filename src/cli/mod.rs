//! The command line: parses the arguments and runs a command, each of which has its own file.

mod admin;
mod bar;
pub mod check;
pub mod demo;
pub mod generate;
pub mod import;
pub mod key;
pub mod logger;
pub mod node;
pub mod operate;
mod roff;
pub mod run;
mod secure;
pub mod top;
mod tty;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::server::signals;

const AFTER_HELP: &str = "\
Examples:
  evenkeel demo                       See it work: a node crashes, and no client notices
  evenkeel check -c evenkeel.yaml     Report every problem of a config
  evenkeel import nginx nginx.conf    Translate a config of nginx
  evenkeel run -c evenkeel.yaml       Run the gateway
  kill -HUP PID                       Make it reload the config
  evenkeel top                        Watch the fleet: its nodes, and the requests that are open
  evenkeel key new alice              Make a key for a client (server.api_keys)
  evenkeel drain main a --wait        Send node a of pool main no new requests, and wait until it is empty

Exit codes: 0 success, 1 failure, 2 unknown argument, 64 unusable config or address.
`evenkeel run --help` lists the signals. conf/evenkeel.yaml explains every key of the config.";

/// A load-balancing gateway for LLM inference servers
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Import(import::ImportArgs),
    Drain(operate::DrainArgs),
    Undrain(operate::UndrainArgs),
    Eject(operate::EjectArgs),
    Restore(operate::RestoreArgs),
    Key(Box<key::KeyArgs>),
    Node(Box<node::NodeArgs>),
    Top(top::TopArgs),
    Demo(demo::DemoArgs),
    Completions(generate::CompletionsArgs),
    // for those who make packages
    #[command(hide = true)]
    Man(generate::ManArgs),
}

/// Runs the command given on the command line.
pub fn main(registered: signals::Registered) -> ExitCode {
    match Args::parse().command {
        Command::Run(args) => run::run(&args, registered),
        Command::Check(args) => check::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Drain(args) => operate::drain(&args, registered),
        Command::Undrain(args) => operate::undrain(&args),
        Command::Eject(args) => operate::eject(&args),
        Command::Restore(args) => operate::restore(&args),
        Command::Key(args) => key::run(&args),
        Command::Node(args) => node::run(*args),
        Command::Top(args) => top::run(&args, registered),
        Command::Demo(args) => demo::run(&args, registered),
        Command::Completions(args) => generate::completions(&args, Args::command()),
        Command::Man(args) => generate::man(&args, Args::command()),
    }
}
