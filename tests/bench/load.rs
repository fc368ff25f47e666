//! The client of the benchmarks: so many requests at a time, until so many are done; one line of JSON says what came
//! of it. Raw HTTP/1.1, because it shares the machine with what it measures. It never asks twice by itself, so that
//! every failure that a client could see is counted.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// A connection that was idle for longer is not used again, for inference servers close theirs after 5 s.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A kept connection, and since when it is idle.
type Kept = Option<(BufReader<TcpStream>, Instant)>;

/// Puts a load on a gateway, or straight on nodes
#[derive(Parser)]
struct Args {
    /// Where to send; with several, request number n goes to number n modulo their count
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    /// Requests in all
    #[arg(long)]
    count: u64,
    /// Requests at a time, each on a connection of its own that is kept
    #[arg(long)]
    concurrency: usize,
    /// Tokens that a request asks for: at least this
    #[arg(long, default_value_t = 1)]
    tokens_min: u64,
    /// ... and at most this
    #[arg(long, default_value_t = 1)]
    tokens_max: u64,
    /// Request number n is the same in every run with this seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    statuses: BTreeMap<u16, u64>,
    /// Requests that got no whole answer.
    broken: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Arc::new(Args::parse());
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..args.concurrency {
        clients.spawn(client(Arc::clone(&args), Arc::clone(&next)));
    }
    let mut all = Seen::default();
    while let Some(seen) = clients.join_next().await {
        let seen = seen.expect("a client ends");
        all.latencies.extend(seen.latencies);
        all.broken += seen.broken;
        for (status, count) in seen.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    report(all, began.elapsed());
}

fn report(mut all: Seen, wall: Duration) {
    let good = all.statuses.get(&200).copied().unwrap_or_default();
    let sent = all.statuses.values().sum::<u64>() + all.broken;
    all.latencies.sort_unstable();
    let percentile = |part: f64| {
        let rank = (part * all.latencies.len() as f64).ceil() as usize;
        all.latencies.get(rank.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
    };
    let statuses = serde_json::to_value(&all.statuses).expect("numbers");
    let line = serde_json::json!({
        "sent": sent, "ok": good, "failed": sent - good, "statuses": statuses, "broken": all.broken,
        "wall": wall.as_secs_f64(), "p50": percentile(0.5), "p99": percentile(0.99),
    });
    println!("{line}");
}

async fn client(args: Arc<Args>, next: Arc<AtomicU64>) -> Seen {
    let mut connections: Vec<Kept> = args.target.iter().map(|_| None).collect();
    let mut seen = Seen::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= args.count {
            return seen;
        }
        let place = number as usize % args.target.len();
        let request = request(&args, number, args.target[place]);
        let began = Instant::now();
        let asked = ask(args.target[place], &mut connections[place], request.as_bytes());
        match tokio::time::timeout(REQUEST_TIMEOUT, asked).await {
            Ok(Ok(status)) => *seen.statuses.entry(status).or_default() += 1,
            Ok(Err(_)) | Err(_) => {
                connections[place] = None;
                seen.broken += 1;
            }
        }
        seen.latencies.push(began.elapsed());
    }
}

fn request(args: &Args, number: u64, target: SocketAddr) -> String {
    let mut random = fastrand::Rng::with_seed(args.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let tokens = random.u64(args.tokens_min..=args.tokens_max);
    let body = format!(
        r#"{{"model":"sim","messages":[{{"role":"user","content":"Tell me of the sea, part {number}"}}],"max_tokens":{tokens}}}"#
    );
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends one request and reads the whole answer; the connection stays if the server lets it.
async fn ask(target: SocketAddr, kept: &mut Kept, request: &[u8]) -> Result<u16> {
    let mut stream = match kept.take() {
        Some((stream, since)) if since.elapsed() < IDLE_MAX => stream,
        _ => {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            BufReader::with_capacity(16 * 1024, stream)
        }
    };
    stream.get_mut().write_all(request).await?;
    let (status, reusable) = answer(&mut stream).await?;
    if reusable {
        *kept = Some((stream, Instant::now()));
    }
    Ok(status)
}

async fn answer(stream: &mut BufReader<TcpStream>) -> Result<(u16, bool)> {
    let wrong = || Error::from(ErrorKind::InvalidData);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    let (mut length, mut chunked, mut close) = (None, false, false);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.parse().map_err(|_| wrong())?),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if chunked {
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let size = u64::from_str_radix(line.trim_end(), 16).map_err(|_| wrong())?;
            skip(stream, size + 2).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        skip(stream, length).await?;
    } else {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        close = true;
    }
    Ok((status, !close))
}

async fn skip(stream: &mut BufReader<TcpStream>, mut length: u64) -> Result<()> {
    while length > 0 {
        let there = stream.fill_buf().await?.len();
        if there == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = there.min(usize::try_from(length).unwrap_or(usize::MAX));
        stream.consume(taken);
        length -= taken as u64;
    }
    Ok(())
}
