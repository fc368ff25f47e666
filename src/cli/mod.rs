//! The command line: one file a command.

pub mod check;
pub mod demo;
pub mod node;
pub mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::server::signals;

/// A load-balancing gateway for the machines that serve large language models.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Node(node::NodeArgs),
    Demo(demo::DemoArgs),
}

/// Runs the command that the process was started with.
pub fn main(registered: signals::Registered) -> ExitCode {
    match Args::parse().command {
        Command::Run(args) => run::run(&args, registered),
        Command::Check(args) => check::run(&args),
        Command::Node(args) => node::run(args),
        Command::Demo(args) => demo::run(&args, registered),
    }
}
