//! `evenkeel drain`, `undrain`, `eject` and `restore`: orders to the running gateway about one node.

mod orders;
mod progress;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::orders::Node;
use self::progress::Progress;
use super::admin::{Admin, AdminArg, Trouble, exit_code};
use super::check::ConfigArg;
use crate::config::duration_of;
use crate::config::units::show_duration;
use crate::server::signals;

/// Between two looks at a node that is to become empty.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
Examples:
  evenkeel drain main a --wait     Take node a out of pool main, and wait until it is empty
  evenkeel undrain main a          Put it back in use
  evenkeel eject main a --for 10m  Give it no requests at all, and try it again after 10 minutes
  evenkeel restore main a          End an ejection at once

A drain lasts until `undrain` or the gateway's end; reloads do not change it.
Exit codes: 0 done, 1 refused, not reached or not empty in time, 2 unknown argument, 64 unusable config or address";

/// The node, and the gateway that has it.
#[derive(Debug, clap::Args)]
struct NodeArg {
    /// The name of the pool
    pool: String,
    /// The name of the node, by default its address
    node: String,
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    config: ConfigArg,
}

/// Send a node no new requests; those in flight finish
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DrainArgs {
    #[command(flatten)]
    node: NodeArg,
    /// Wait until the node has no requests in flight
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this; the node stays drained
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration_of, requires = "wait")]
    timeout: Duration,
}

/// End a drain: the node's share of new requests rises
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct UndrainArgs {
    #[command(flatten)]
    node: NodeArg,
}

/// Give a node no requests at all for a time, then probe it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct EjectArgs {
    #[command(flatten)]
    node: NodeArg,
    /// Eject it for this long [default: the pool's fail_timeout]
    #[arg(long = "for", value_name = "TIME", value_parser = duration_of)]
    time: Option<Duration>,
}

/// End an ejection at once and forget the node's failures
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct RestoreArgs {
    #[command(flatten)]
    node: NodeArg,
}

/// Exits with 0 once the node is drained, with `--wait` once it is empty.
pub fn drain(args: &DrainArgs, registered: signals::Registered) -> ExitCode {
    let name = args.node.node.clone();
    registered.on_stop(move || {
        eprintln!("\nevenkeel: stopped waiting; what was ordered of {name} holds");
        std::process::exit(1);
    });
    let ordered = order(&args.node, "drain");
    let waited =
        ordered.and_then(
            |(admin, node)| {
                if args.wait { wait(&admin, &args.node, node, args.timeout) } else { Ok(()) }
            },
        );
    exit_code(waited)
}

pub fn undrain(args: &UndrainArgs) -> ExitCode {
    let done = order(&args.node, "undrain");
    // the reason was in the warning
    exit_code(done.and_then(|(_, node)| match node.drained_by.as_slice() {
        [] => Ok(()),
        by => Err(Trouble::Failed(format!("{} is still drained by: {}", node.name, by.join(", ")))),
    }))
}

pub fn eject(args: &EjectArgs) -> ExitCode {
    let query = args.time.map_or_else(String::new, |time| format!("?for={}", show_duration(time)));
    exit_code(order(&args.node, &format!("eject{query}")).map(drop))
}

pub fn restore(args: &RestoreArgs) -> ExitCode {
    exit_code(order(&args.node, "restore").map(drop))
}

/// Sends the order and shows the answer.
fn order(args: &NodeArg, verb: &str) -> Result<(Admin, Node), Trouble> {
    let admin = Admin::find(&args.admin, None, &args.config.config)?;
    let node = orders::order(&admin, &args.pool, &args.node, verb)?;
    println!("{}", node.describe());
    if let Some(warning) = &node.warning {
        eprintln!("warning: {warning}");
    }
    Ok((admin, node))
}

/// Waits until the node is empty.
fn wait(admin: &Admin, args: &NodeArg, mut node: Node, timeout: Duration) -> Result<(), Trouble> {
    let began = Instant::now();
    let mut progress = Progress::new();
    loop {
        progress.show(&node, began.elapsed());
        if node.state != "draining" && !node.is_gone {
            return Err(Trouble::Failed(format!(
                "{} is no longer drained: somebody has put it back in use, or the gateway was started anew",
                node.name
            )));
        }
        if node.in_flight == 0 {
            progress.end(&format!("{} is empty after {} s", node.name, began.elapsed().as_secs()));
            return Ok(());
        }
        if began.elapsed() >= timeout {
            progress.end("");
            let (name, left, time) = (&node.name, node.in_flight, show_duration(timeout));
            return Err(Trouble::Failed(format!(
                "{name} still has {left} in flight after {time}; it stays drained"
            )));
        }
        std::thread::sleep(LOOK_EVERY.min(timeout.saturating_sub(began.elapsed())));
        node = orders::look(admin, &args.pool, &args.node)?;
    }
}
