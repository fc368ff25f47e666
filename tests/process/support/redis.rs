//! A Redis of the test's own, and a proxy in front of it that can hold up, cut or swallow what passes.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::process::Process;
use super::{ports, until};

/// `redis-server` on a free port, without files of its own unless it is told to save.
pub(crate) struct Redis {
    pub address: SocketAddr,
    process: Process,
    directory: tempfile::TempDir,
}

/// `redis-server` is there. A test that needs it says so and passes without.
pub(crate) fn is_there() -> bool {
    let is_there = Command::new("redis-server").arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: no redis-server here (.ci/bootstrap redis installs it)");
    }
    is_there
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let (address, directory) = (ports::free(), tempfile::tempdir().expect("a directory"));
        let process = Self::spawn(address, directory.path());
        let redis = Self { address, process, directory };
        redis.until_ready().await;
        redis
    }

    fn spawn(address: SocketAddr, directory: &std::path::Path) -> Process {
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--daemonize", "no"]).arg("--dir").arg(directory);
        Process::spawn(&mut command)
    }

    async fn until_ready(&self) {
        until("redis-server is ready", || self.process.stdout().contains("Ready to accept connections"))
            .await;
    }

    /// The value of `cluster.redis`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// One command; the answer as text.
    pub(crate) async fn tell(&self, words: &[&str]) -> String {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
        let mut command = redis::cmd(words[0]);
        let value: redis::Value =
            command.arg(&words[1..]).query_async(&mut connection).await.expect("an answer");
        format!("{value:?}")
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port. It has what it has saved.
    pub(crate) async fn again(&mut self) {
        self.process = Self::spawn(self.address, self.directory.path());
        self.until_ready().await;
    }

    /// It answers nothing, and its connections stay, until it goes on.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.process.signal(if is_paused { Signal::STOP } else { Signal::CONT });
    }
}

/// The way of a proxy with what passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Open,
    /// Each piece comes so much later.
    Slow(Duration),
    /// Nothing passes, and nobody is told.
    Silent,
    /// All connections are closed, and new ones too.
    Closed,
    /// Whatever is asked, this is the answer.
    Says(&'static [u8]),
}

/// A proxy in front of Redis.
pub(crate) struct Proxy {
    pub address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
}

impl Proxy {
    pub(crate) async fn start(redis: SocketAddr) -> Self {
        let address = ports::free();
        let listener = TcpListener::bind(address).await.expect("a free port");
        let way = Arc::new(watch::Sender::new(Way::Open));
        let shared = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, redis, shared.subscribe()));
            }
        });
        Self { address, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

async fn pass(mut client: TcpStream, redis: SocketAddr, mut way: watch::Receiver<Way>) {
    let Ok(mut server) = TcpStream::connect(redis).await else { return };
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let now = *way.borrow();
        if now == Way::Closed {
            return;
        }
        tokio::select! {
            _ = way.changed() => {}
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let now = *way.borrow();
                match now {
                    Way::Says(text) => _ = client.write_all(text).await,
                    Way::Silent => {}
                    _ => _ = server.write_all(&up[..count]).await,
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                let now = *way.borrow();
                if let Way::Slow(time) = now {
                    sleep(time).await;
                }
                if !matches!(now, Way::Silent | Way::Says(_)) {
                    _ = client.write_all(&down[..count]).await;
                }
            }
        }
    }
}
