//! `evenkeel node`: runs a simulated inference node, for trying a configuration without an accelerator.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Engine;
use crate::sim::{Fault, Limits, Loading, Node, Options, StepTimes};

/// Exit code for wrong arguments or an unavailable address (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
const AFTER_HELP: &str = "\
Examples:
  evenkeel node --listen 127.0.0.1:9001 --name a
  evenkeel node --listen 127.0.0.1:9002 --name b --speed 0.33 --fault status:500,times=3

SIGTERM and SIGINT end it, after --shutdown-timeout; a second one ends it at once.
Exit codes: 0 ended by a signal, 1 cannot start, 2 unknown argument, 64 cannot listen on the address";

/// Run a simulated inference node: an OpenAI-compatible server that needs no accelerator
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct NodeArgs {
    /// Listen on this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Send this name in the x-sim-node response header
    #[arg(long, default_value = "sim")]
    name: String,
    /// List this model in /v1/models
    #[arg(long, default_value = "sim")]
    model: String,
    /// Send events in the style of this engine: vllm, sglang or llamacpp
    #[arg(long, default_value = "vllm", value_parser = engine)]
    engine: Engine,
    /// Take this long for an engine step (one token of every running sequence)
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = duration)]
    step_base: Duration,
    /// Add this much to a step for each running sequence
    #[arg(long, value_name = "TIME", default_value = "0.1ms", value_parser = duration)]
    step_per_seq: Duration,
    /// Add this much to a step for each token of a prompt that it computes
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
    step_per_prompt_token: Duration,
    /// Run at this speed: 1 is normal, 0.33 is three times slower
    #[arg(long, default_value = "1", value_parser = speed)]
    speed: f64,
    /// Run this many sequences at once; the rest wait
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_seqs: usize,
    /// Let this many sequences wait; more get 503, streams as an error event after 200 (vLLM) [default: no limit]
    #[arg(long, value_name = "N")]
    max_queued: Option<usize>,
    /// Hold the keys and values of this many tokens; when they are full, the newest sequence is put back in line and computed
    /// anew [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..))]
    kv_tokens: Option<u32>,
    /// Compute at most this many tokens in a step: longer prompts are spread over several [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    prefill_tokens: Option<u32>,
    /// Keep the prefixes of prompts as long as --kv-tokens has room, and tell cached_tokens in the usage
    #[arg(long, requires = "kv_tokens")]
    prefix_cache: bool,
    /// Order requests by their "priority" (vLLM: the lower first; SGLang: the higher)
    #[arg(long)]
    by_priority: bool,
    /// Put this many tokens into each event, as vLLM does when its API server is behind
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tokens_per_event: u32,
    /// Close connections that have been idle for this long; "off" keeps them open
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = keepalive)]
    keepalive: Keepalive,
    /// Crash once, this long after the start
    #[arg(long, value_name = "TIME", value_parser = duration)]
    crash_after: Option<Duration>,
    /// Crash repeatedly, each time this long after the node has come up
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "crash_after")]
    crash_every: Option<Duration>,
    /// On SIGTERM, answer 500 to all that is new and let what runs go on for this long; then abort the rest (vLLM)
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
    shutdown_timeout: Duration,
    /// Stay down this long after a crash
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    startup: Duration,
    /// Refuse connections while starting up (vLLM), or listen and answer 503 (llama.cpp)
    #[arg(long, value_enum, default_value = "refuse")]
    loading: LoadingArg,
    /// Inject a fault from the start, such as "status:500,times=3", "die:10,every=5" or JSON; may be repeated
    #[arg(long, value_name = "FAULT", value_parser = str::parse::<Fault>)]
    fault: Vec<Fault>,
    /// Put the send time into each token's event, so that a client on this machine can measure the delay
    #[arg(long)]
    stamp: bool,
    /// Obey the x-sim-fault request header
    #[arg(long)]
    header_faults: bool,
    /// Serve on this many threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum LoadingArg {
    Refuse,
    #[value(name = "503")]
    Answer503,
}

/// A newtype, because clap takes a bare `Option` for an argument that may be missing.
#[derive(Clone, Copy, Debug)]
struct Keepalive(Option<Duration>);

/// Runs until SIGINT or SIGTERM.
pub fn run(args: NodeArgs) -> ExitCode {
    let runtime = if args.threads > 1 {
        tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let served = runtime.map_err(|error| (ExitCode::FAILURE, format!("cannot start: {error}")));
    match served.and_then(|runtime| runtime.block_on(serve(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("evenkeel node: {message}");
            code
        }
    }
}

async fn serve(args: NodeArgs) -> Result<(), (ExitCode, String)> {
    let no_signals = |error| (ExitCode::FAILURE, format!("cannot wait for signals: {error}"));
    let mut signals = Signals::new().map_err(no_signals)?;
    let node = Node::start(options(&args))
        .map_err(|error| (ExitCode::from(EXIT_USAGE), cannot_listen(args.listen, &error)))?;
    for fault in &args.fault {
        node.add_fault(fault.clone());
    }
    println!("node {} listens on http://{}", node.name(), node.addr());
    println!(
        r#"  curl -N http://{}/v1/chat/completions -d '{{"model":"{}","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}'"#,
        node.addr(),
        args.model
    );
    tokio::select! {
        () = crash_at_times(&node, &args) => {}
        () = signals.next() => {}
    }
    // A second signal exits without waiting for clients that do not read.
    tokio::select! {
        () = node.drain(args.shutdown_timeout) => {}
        () = signals.next() => {}
    }
    Ok(())
}

fn options(args: &NodeArgs) -> Options {
    Options {
        listen: args.listen,
        name: args.name.clone(),
        model: args.model.clone(),
        engine: args.engine,
        step: StepTimes {
            base: args.step_base,
            per_seq: args.step_per_seq,
            per_prompt_token: args.step_per_prompt_token,
        },
        speed: args.speed,
        limits: Limits {
            max_seqs: args.max_seqs,
            max_queued: args.max_queued,
            kv_tokens: args.kv_tokens,
            step_tokens: args.prefill_tokens,
            prefix_cache: args.prefix_cache,
            by_priority: args.by_priority,
        },
        tokens_per_event: args.tokens_per_event,
        keepalive: args.keepalive.0,
        startup: args.startup,
        loading: match args.loading {
            LoadingArg::Refuse => Loading::Refuse,
            LoadingArg::Answer503 => Loading::Answer503,
        },
        stamp: args.stamp,
        allow_header_faults: args.header_faults,
        ..Options::default()
    }
}

async fn crash_at_times(node: &Node, args: &NodeArgs) {
    let Some(wait) = args.crash_after.or(args.crash_every) else { return std::future::pending().await };
    loop {
        tokio::time::sleep(wait).await;
        println!("node {} crashes, back in {:?}", node.name(), args.startup);
        node.restart(args.startup);
        node.ready().await;
        println!("node {} is back", node.name());
        if args.crash_every.is_none() {
            return std::future::pending().await;
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn cannot_listen(addr: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "port {} is in use; stop the other program, or choose another port with --listen",
                addr.port()
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine; use one that is, or 0.0.0.0 for all", addr.ip())
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose a higher one".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot listen on {addr}: {advice}")
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if number == "0" => 0.0,
        _ => return Err("use a number and a unit: us, ms, s, m or h (20ms, 5s)".to_owned()),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn keepalive(text: &str) -> Result<Keepalive, String> {
    if text == "off" { Ok(Keepalive(None)) } else { duration(text).map(|time| Keepalive(Some(time))) }
}

fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "vllm" => Ok(Engine::Vllm),
        "sglang" => Ok(Engine::Sglang),
        "llamacpp" => Ok(Engine::Llamacpp),
        _ => Err("use vllm, sglang or llamacpp".to_owned()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed > 0.0 && speed.is_finite() => Ok(speed),
        _ => Err("use a number above 0 (1 is normal, 0.5 takes twice as long)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        node: NodeArgs,
    }

    fn parse(args: &[&str]) -> Result<Options, String> {
        let all = ["node"].iter().chain(args);
        Cli::try_parse_from(all).map(|cli| options(&cli.node)).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_become_options() {
        let options =
            parse(&["--step-base", "20ms", "--step-per-seq", "0.1ms", "--keepalive", "off"]).unwrap();
        assert_eq!(options.step.base, Duration::from_millis(20));
        assert_eq!(options.step.per_seq, Duration::from_micros(100));
        assert_eq!(options.keepalive, None);
        assert_eq!(parse(&["--loading", "503"]).unwrap().loading, Loading::Answer503);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse(&["--step-base", "20"]).unwrap_err().contains("unit"));
        assert!(parse(&["--speed", "0"]).unwrap_err().contains("above 0"));
        assert!(parse(&["--fault", "explode"]).unwrap_err().contains("explode"));
        assert!(parse(&["--crash-after", "1s", "--crash-every", "1s"]).is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("-1s").is_err() && duration("s").is_err() && duration("5 weeks").is_err());
    }

    #[test]
    fn a_taken_port_is_explained() {
        let text = cannot_listen("127.0.0.1:9001".parse().unwrap(), &io::ErrorKind::AddrInUse.into());
        assert!(text.contains("9001") && text.contains("--listen"));
    }
}
