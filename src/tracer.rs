//! The tracer: hands requests that have ended to a thread of its own, which sends their spans to a collector (OTLP over HTTP).
//!
//! As with the access log, a collector that is slow or away never delays a request: spans beyond a bound are dropped and counted.
//! The SDK's own processor drops them too, and tells nobody how many.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use parking_lot::Mutex;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;

use crate::config::Tracing;
use crate::live::Live;
use crate::spans::Ended;

/// Requests are collected for this long and then sent together.
const PAUSE: Duration = Duration::from_millis(200);
/// The most requests that may wait for the collector.
const WAITING_MAX: usize = 4096;
/// The most requests whose spans go out in one message.
const BATCH_MAX: usize = 512;
/// The time in which the collector must have taken a message, further tries included.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);
/// The longest time that the end of the process waits for the last spans.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The handle to the exporting thread. There is none while tracing is off.
#[derive(Clone, Debug)]
pub struct Tracer {
    running: Arc<ArcSwapOption<Running>>,
    live: Arc<Live>,
}

/// A thread that exports. It sends what it has, and ends, once this is dropped.
#[derive(Debug)]
struct Running {
    conf: Tracing,
    inbox: mpsc::Sender<Box<Ended>>,
    /// Closed at its end.
    done: Mutex<Receiver<()>>,
}

impl Tracer {
    /// Without a thread so far.
    pub fn new(live: Arc<Live>) -> Self {
        Self { running: Arc::default(), live }
    }

    /// Exports to the collector of this config from now on. What waits for another one goes there still. An error: nothing has
    /// changed.
    pub fn set(&self, conf: Option<&Tracing>) -> io::Result<()> {
        let is_same = |running: &Running| conf.is_some_and(|conf| exports_alike(conf, &running.conf));
        if self.running.load().as_deref().is_some_and(is_same) {
            return Ok(());
        }
        let next = conf.map(|conf| Running::start(conf, Arc::clone(&self.live))).transpose()?;
        self.running.store(next.map(Arc::new));
        Ok(())
    }

    /// Hands over a request. Its spans are lost if too many wait.
    pub fn write(&self, ended: Ended) {
        let count = ended.count();
        let running = self.running.load();
        let sent = running.as_ref().is_some_and(|running| running.inbox.try_send(Box::new(ended)).is_ok());
        if !sent {
            self.live.lost_spans.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Ends the thread. Returns when all spans so far are sent, or the collector has not taken them for too long.
    pub fn stop(&self) {
        let end = Instant::now() + FLUSH_WITHIN;
        let Some(mut running) = self.running.swap(None) else { return };
        // a request that is about to hand over its spans still holds it
        let Running { inbox, done, .. } = loop {
            match Arc::try_unwrap(running) {
                Ok(running) => break running,
                Err(_) if Instant::now() >= end => return,
                Err(held) => running = held,
            }
            thread::sleep(Duration::from_millis(1));
        };
        drop(inbox);
        let _ = done.into_inner().recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// The same spans go the same way: how many requests are traced matters only at their beginning.
fn exports_alike(a: &Tracing, b: &Tracing) -> bool {
    (&a.url, &a.service_name, &a.headers) == (&b.url, &b.service_name, &b.headers)
}

impl Running {
    fn start(conf: &Tracing, live: Arc<Live>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let exporter = exporter(conf, &runtime).map_err(io::Error::other)?;
        let (inbox, waiting) = mpsc::channel(WAITING_MAX);
        let (ends, done) = sync_channel(1);
        let exporting = Exporting { exporter, live, url: conf.url.clone(), is_failing: false };
        thread::Builder::new()
            .name("tracer".into())
            .spawn(move || run(&runtime, exporting, waiting, ends))?;
        Ok(Self { conf: conf.clone(), inbox, done: Mutex::new(done) })
    }
}

/// Of the environment, the SDK adds `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS`.
fn exporter(conf: &Tracing, runtime: &Runtime) -> Result<SpanExporter, String> {
    let _within = runtime.enter();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: HashMap<_, _> =
        conf.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let built = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&conf.url)
        .with_timeout(EXPORT_WITHIN)
        .with_headers(headers)
        .build();
    let mut exporter = built.map_err(|error| error.to_string())?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name(conf.service_name.clone()).with_attribute(version);
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

struct Exporting {
    exporter: SpanExporter,
    live: Arc<Live>,
    url: String,
    /// That was said, and holds since.
    is_failing: bool,
}

/// `ends` is dropped when all is sent.
fn run(
    runtime: &Runtime,
    mut exporting: Exporting,
    mut waiting: mpsc::Receiver<Box<Ended>>,
    _ends: SyncSender<()>,
) {
    let scope = InstrumentationScope::builder("evenkeel").with_version(env!("CARGO_PKG_VERSION")).build();
    runtime.block_on(async {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            if batch.len() < BATCH_MAX && !waiting.is_closed() {
                // being woken for every request would cost the requests more than their spans
                tokio::time::sleep(PAUSE).await;
                while batch.len() < BATCH_MAX
                    && let Ok(ended) = waiting.try_recv()
                {
                    batch.push(ended);
                }
            }
            exporting.export(batch.drain(..), &scope).await;
        }
    });
}

impl Exporting {
    async fn export(&mut self, batch: impl Iterator<Item = Box<Ended>>, scope: &InstrumentationScope) {
        let spans: Vec<_> = batch.flat_map(|ended| ended.spans(scope)).collect();
        let count = spans.len() as u64;
        let sent = self.exporter.export(spans).await;
        if sent.is_err() {
            self.live.lost_spans.fetch_add(count, Ordering::Relaxed);
        }
        let was_failing = std::mem::replace(&mut self.is_failing, sent.is_err());
        match sent {
            Ok(()) if was_failing => log::info!("tracing: {} takes spans again", self.url),
            Err(error) if !was_failing => {
                log::warn!(
                    "tracing: {} takes no spans: {error}; they are dropped and counted (lost_spans)",
                    self.url
                );
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
