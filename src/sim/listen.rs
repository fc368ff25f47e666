//! The simulated node's accept loop, and the task that serves each connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::service;
use super::shared::Shared;
use super::wire::{Conn, Cut, Phase, Socket};

const H2_STREAMS_MAX: u32 = 20_000;
const H2_WINDOW: u32 = 1 << 20;
/// Pause after a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the phase changes; then the listener is closed.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, mut phase: watch::Receiver<Phase>) {
    loop {
        let stream = tokio::select! {
            biased;
            _ = phase.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&shared), stream, phase.clone()));
            }
            Err(error) => {
                log::warn!("node {}: accept: {error}", shared.options.name);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The listener must go first: a crash waits for the receiver, and then the port must refuse.
    drop(listener);
    drop(phase);
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, mut phase: watch::Receiver<Phase>) {
    // Without TCP_NODELAY the small events of a stream would wait for the client's ACKs.
    let _ = stream.set_nodelay(true);
    let conn = Arc::new(Conn::new(phase.clone()));
    let socket = Socket::new(stream, Arc::clone(&conn), Arc::clone(&shared.counters));
    let keepalive = shared.options.keepalive;

    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None);
    builder
        .http2()
        .max_concurrent_streams(H2_STREAMS_MAX)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(4 * H2_WINDOW);
    let handler = {
        let conn = Arc::clone(&conn);
        service_fn(move |request| {
            let (shared, conn) = (Arc::clone(&shared), Arc::clone(&conn));
            async move { Ok::<_, Infallible>(service::serve(shared, conn, request).await) }
        })
    };
    let mut http = pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), handler));
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            // Polled first, so that bytes already written by the handlers go out before a cut.
            result = http.as_mut() => {
                if let Err(error) = result {
                    log::debug!("connection: {error}");
                }
                return;
            }
            () = conn.wait_cut() => return,
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow_and_update() == Phase::Crashed {
                    conn.cut(Cut::Rst);
                    return;
                }
            }
            () = idle(&conn, keepalive), if !closing => {}
        }
        closing = true;
        http.as_mut().graceful_shutdown();
    }
}

/// Resolves when the connection has been idle for the keep-alive time.
async fn idle(conn: &Conn, keepalive: Option<Duration>) {
    let Some(keepalive) = keepalive else { return std::future::pending().await };
    loop {
        let due = conn.idle_until(keepalive);
        if due.is_some_and(|due| due <= Instant::now()) {
            return;
        }
        sleep_until(due.unwrap_or_else(|| Instant::now() + keepalive)).await;
    }
}
