//! One client of the closed loop: sends a request, waits for the answer, repeats.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::conn::{Conn, Seen};
use super::options::{Connections, Load, Target};
use super::progress::{Phase, Shared};
use super::record::{Failure, Record};
use super::report::{RECORDS_MAX, Report};
use super::secure::{self, Agreed};
use super::tally::Tally;

struct Client<'a> {
    load: &'a Load,
    tally: &'a Tally,
    /// The kept connection to each target, if there is one.
    conns: Vec<Option<Conn>>,
    tls: Option<secure::Client>,
    handshakes: BTreeMap<Agreed, u64>,
    request: Vec<u8>,
    seen: Seen,
}

/// Sends requests until the load is over.
pub(super) async fn run(shared: Arc<Shared>, place: usize, mut phase: watch::Receiver<Phase>) -> Report {
    let load = &shared.load;
    let conns = load.targets.iter().map(|_| None).collect();
    let tally = &shared.tally;
    let tls = load.tls.as_ref().map(|tls| tls.client());
    let (request, seen, handshakes) = (Vec::new(), Seen::default(), BTreeMap::new());
    let mut client = Client { load, tally, conns, tls, handshakes, request, seen };
    let mut report = Report::default();
    let records_max = RECORDS_MAX / load.concurrency.max(1);
    pause(&mut phase, load.ramp.mul_f64(place as f64 / load.concurrency.max(1) as f64)).await;
    loop {
        let now = *phase.borrow();
        let Some(number) = shared.next(now) else { break };
        shared.count.began();
        let began = Instant::now();
        let asked = tokio::select! {
            biased;
            asked = client.ask(number) => asked,
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => {
                shared.count.cut();
                report.note_cut();
                break;
            }
        };
        let record = client.record(number, began, shared.began, asked.err());
        if record.is_success() {
            tally.answered(record.latency);
        }
        shared.count.ended(record.is_success());
        report.note(record, records_max);
        if !record.is_success() {
            pause(&mut phase, load.pause_after_failure).await;
        }
        if load.connections == Connections::Idle {
            let _ = phase.wait_for(|phase| *phase != Phase::Asking).await;
        }
    }
    report.wall = shared.began.elapsed();
    report.handshakes = client.handshakes;
    report
}

/// Waits, at most until the end of the load.
async fn pause(phase: &mut watch::Receiver<Phase>, time: Duration) {
    if !time.is_zero() {
        let _ = tokio::time::timeout(time, phase.wait_for(|phase| *phase != Phase::Asking)).await;
    }
}

impl Client<'_> {
    async fn ask(&mut self, number: u64) -> Result<(), Failure> {
        self.seen.reset();
        let place = usize::try_from(number % self.load.targets.len() as u64).unwrap_or(0);
        let (body, stream) = self.load.ask.body(number, self.load.seed);
        write_request(&mut self.request, &self.load.targets[place], &self.load.headers, &body);
        match self.load.timeout {
            Some(limit) => {
                let asked = tokio::time::timeout(limit, self.exchange(place, stream)).await;
                asked.unwrap_or(Err(Failure::Timeout))
            }
            None => self.exchange(place, stream).await,
        }
    }

    /// Takes the connection to the target and puts it back only if it can be reused.
    async fn exchange(&mut self, place: usize, stream: bool) -> Result<(), Failure> {
        let kept = self.conns[place].take();
        let was_kept = kept.is_some();
        let mut conn = match kept {
            Some(conn) => conn,
            None => self.open(place).await?,
        };
        let mut result = conn.exchange(&self.request, stream, &mut self.seen, self.tally).await;
        let is_stale = was_kept && result == Err(Failure::Reset) && self.seen.first_byte.is_none();
        if is_stale && self.load.again_if_stale {
            conn = self.open(place).await?;
            result = conn.exchange(&self.request, stream, &mut self.seen, self.tally).await;
        }
        if self.seen.keeps && self.load.connections != Connections::Fresh {
            self.conns[place] = Some(conn);
        }
        result
    }

    async fn open(&mut self, place: usize) -> Result<Conn, Failure> {
        let conn = Conn::open(self.load.targets[place].address, self.tls.as_ref()).await?;
        if let Some(agreed) = conn.agreed {
            *self.handshakes.entry(agreed).or_default() += 1;
        }
        Ok(conn)
    }

    fn record(&self, number: u64, began: Instant, start: Instant, failure: Option<Failure>) -> Record {
        let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(began));
        Record {
            number,
            began: began.saturating_duration_since(start),
            latency: began.elapsed(),
            first_byte: since(self.seen.first_byte),
            first_event: since(self.seen.first_event),
            status: self.seen.status,
            events: self.seen.sse.events,
            failure,
        }
    }
}

fn write_request(out: &mut Vec<u8>, target: &Target, headers: &[(String, String)], body: &[u8]) {
    out.clear();
    let Target { address, path } = target;
    let length = body.len();
    // writing to a Vec cannot fail
    let _ = write!(
        out,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
    );
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}
