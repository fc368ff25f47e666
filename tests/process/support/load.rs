//! Clients that send one request after another, and count successes and failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::client::{Client, chat};

pub(crate) struct Load {
    clients: JoinSet<Vec<String>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

/// The behaviour of each client.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub clients: usize,
    pub tokens: u32,
    /// Longest pause of a client between two requests.
    pub pause: Duration,
    /// `None`: every other client.
    pub stream: Option<bool>,
    pub connection: Connection,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Connection {
    /// One connection, used as long as it lasts.
    Kept,
    /// A new connection for each request.
    Fresh,
    /// A new connection for each request, which is sent this long after connecting.
    Early(Duration),
}

impl Load {
    /// Each client sends requests until told to stop.
    pub(crate) fn start(address: SocketAddr, plan: Plan) -> Self {
        Self::spawn(address, plan, false)
    }

    /// Each client sends one request.
    pub(crate) fn once(address: SocketAddr, plan: Plan) -> Self {
        Self::spawn(address, plan, true)
    }

    fn spawn(address: SocketAddr, plan: Plan, once: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(once));
        let done = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for number in 0..plan.clients {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let stream = plan.stream.unwrap_or(number % 2 == 0);
            clients.spawn(async move {
                let mut client = Client::new(address);
                let mut failures = Vec::new();
                loop {
                    if let Connection::Early(before) = plan.connection {
                        if let Err(failure) = client.connect().await {
                            failures.push(format!("client {number}: cannot connect: {failure}"));
                        }
                        tokio::time::sleep(before).await;
                    }
                    if let Err(failure) = one(&mut client, plan.tokens, stream).await {
                        failures.push(format!("client {number}, stream {stream}: {failure}"));
                        client.leave();
                    }
                    if plan.connection != Connection::Kept {
                        client.leave();
                    }
                    done.fetch_add(1, Ordering::AcqRel);
                    if stop.load(Ordering::Acquire) {
                        return failures;
                    }
                    let pause = plan.pause.mul_f64(fastrand::f64());
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { clients, stop, done }
    }

    /// Requests that have ended, successfully or not.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Lets all requests in flight end. Returns the number of all requests, and the failures.
    pub(crate) async fn finish(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        let mut failures = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failures.extend(client.expect("a client does not panic"));
        }
        (self.done(), failures)
    }
}

/// One request, whose answer must be whole.
pub(crate) async fn one(client: &mut Client, tokens: u32, stream: bool) -> Result<(), String> {
    let answer = client.ask(&chat(tokens, stream)).await.map_err(|error| error.to_string())?;
    let end = if stream { "data: [DONE]\n\n" } else { "}" };
    match answer.head.status {
        200 if answer.body.ends_with(end) => Ok(()),
        200 => Err(format!("not whole: {}", answer.body)),
        status => Err(format!("{status}: {}", answer.body)),
    }
}
