//! The client of the benchmarks: a command line for the simulated clients of `evenkeel::sim::load`, which prints the
//! results as one line of JSON.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use evenkeel::sim::load::{
    Ask, Cipher, Connections, Load, LoadHandle, Percentiles, Report, Sizes, Target, Tls,
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Put a load on a gateway, or directly on nodes
#[derive(Parser)]
struct Args {
    /// The address to send to; with several, request number n goes to number n modulo their count
    #[arg(long, required_unless_present = "new_certificate")]
    target: Vec<SocketAddr>,
    /// Requests in all
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Requests at a time, each on a connection of its own that is kept
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
    /// Tokens that a request asks for: at least this
    #[arg(long, default_value_t = 1)]
    tokens_min: u32,
    /// ... and at most this
    #[arg(long, default_value_t = 1)]
    tokens_max: u32,
    /// The part of the requests that ask for a stream, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    stream: f64,
    /// All requests are the same, with a body of so many bytes, for `tokens-min` tokens
    #[arg(long)]
    body: Option<usize>,
    /// The clients begin one after the other over so many seconds
    #[arg(long, default_value_t = 0.0)]
    ramp: f64,
    /// Tell how far the load is for each line of standard input, and cut it off at its end
    #[arg(long)]
    watch: bool,
    /// Speak TLS 1.3 with a server that has this certificate (a file in PEM form) and is called localhost
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// The only cipher suite to offer
    #[arg(long, value_enum, default_value_t = Offer::Aes256)]
    cipher: Offer,
    /// Each request on a connection of its own
    #[arg(long)]
    fresh: bool,
    /// With `watch`: each client sends one request, and keeps its connection until the end
    #[arg(long, conflicts_with = "fresh")]
    idle: bool,
    /// With TLS: begin each session anew
    #[arg(long)]
    forget: bool,
    /// Write a certificate for localhost (ECDSA P-256) into this folder, as cert.pem and key.pem, and end
    #[arg(long, value_name = "FOLDER")]
    new_certificate: Option<PathBuf>,
    /// Request number n is the same in every run with this seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Offer {
    /// TLS_AES_128_GCM_SHA256
    Aes128,
    /// TLS_AES_256_GCM_SHA384, which OpenSSL's clients ask for first
    Aes256,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    if let Some(folder) = args.new_certificate {
        return new_certificate(&folder).unwrap_or_else(|problem| stop_with(&problem));
    }
    let ask = match args.body {
        Some(length) => padded(length, args.tokens_min, args.stream > 0.0),
        None => {
            let tokens = Sizes::Uniform { min: args.tokens_min, max: args.tokens_max };
            Ask::Chat { tokens, stream: args.stream }
        }
    };
    let tls = args.tls.as_ref().map(|file| trusting(file, args.cipher, !args.forget));
    let targets = args.target.into_iter().map(Target::chat).collect();
    let load = Load {
        count: Some(args.count),
        // what is watched is cut off
        timeout: (!args.watch).then_some(REQUEST_TIMEOUT),
        // inference servers close connections that were idle for 5 s: that is no failure of anyone
        again_if_stale: true,
        pause_after_failure: Duration::ZERO,
        ramp: Duration::from_secs_f64(args.ramp),
        tls,
        connections: match (args.fresh, args.idle) {
            (true, _) => Connections::Fresh,
            (_, true) => Connections::Idle,
            _ => Connections::Kept,
        },
        seed: args.seed,
        ..Load::new(targets, args.concurrency, ask)
    };
    let handle = load.start();
    if args.watch {
        watch(&handle).await;
    }
    report(&handle.finish().await);
}

/// Ends the program if there can be none.
fn trusting(file: &Path, cipher: Offer, resumes: bool) -> Tls {
    let cipher = match cipher {
        Offer::Aes128 => Cipher::Aes128,
        Offer::Aes256 => Cipher::Aes256,
    };
    let read = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    read.and_then(|ca| Tls::new(&ca, "localhost", cipher, resumes))
        .unwrap_or_else(|problem| stop_with(&problem))
}

fn new_certificate(folder: &Path) -> Result<(), String> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string())?;
    for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn stop_with(problem: &str) -> ! {
    eprintln!("load: {problem}");
    std::process::exit(2)
}

/// A chat in so many bytes.
fn padded(length: usize, tokens: u32, stream: bool) -> Ask {
    let body = |words: &str| {
        json!({
            "model": "sim", "max_tokens": tokens, "stream": stream,
            "messages": [{"role": "user", "content": words}],
        })
        .to_string()
    };
    let room = length.saturating_sub(body("").len());
    let words = "Tell me of the sea, and of the ships that come and go. ".repeat(room / 55 + 1);
    Ask::Body { body: body(&words[..room]).into(), stream }
}

async fn watch(handle: &LoadHandle) {
    let (asked, mut asks) = mpsc::channel(1);
    // tokio's own standard input would keep the program from ending
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || asked.blocking_send(()).is_err() {
                break;
            }
        }
    });
    while asks.recv().await.is_some() {
        let (counts, tally) = (handle.counts(), handle.tally());
        let lags = tally.take_lags();
        say(&json!({
            "streams": tally.streams(), "events": tally.events(), "in_flight": counts.in_flight,
            "done": counts.done,
            "failed": counts.failed, "lags": lags.len(),
            "lag_p50": seconds(&lags, 0.5), "lag_p99": seconds(&lags, 0.99),
        }));
    }
    handle.cut();
}

fn report(seen: &Report) {
    let (latency, first) = (seen.latency(), seen.first_event());
    let failures: Vec<_> = seen.failures.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    let handshakes: Map<_, _> =
        seen.handshakes.iter().map(|(agreed, count)| (agreed.to_string(), json!(count))).collect();
    say(&json!({
        "sent": seen.sent, "ok": seen.succeeded, "failed": seen.failed, "failures": failures,
        "handshakes": handshakes, "events": seen.events,
        "wall": seen.wall.as_secs_f64(),
        "p50": seconds(&latency, 0.5), "p99": seconds(&latency, 0.99),
        "first_p50": seconds(&first, 0.5), "first_p99": seconds(&first, 0.99),
    }));
}

fn seconds(times: &Percentiles, part: f64) -> f64 {
    times.at(part).as_secs_f64()
}

/// One line, which is flushed at its end.
fn say(line: &Value) {
    println!("{line}");
}
