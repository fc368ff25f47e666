//! A rolling update as Kubernetes does it, by processes: each gateway in turn is joined by a new one, which is waited for, and then
//! told to stop while a balancer that learns of it late still sends it connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::client::{Client, get};
use crate::support::gateway::{Conf, Gateway};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::{ports, until};

/// The time after which the balancer goes by what `/readyz` says; also the pause between two of its questions, with which it adds up.
const LAG: Duration = Duration::from_millis(400);
/// The time for which a gateway that is told to stop takes requests: far more than twice the lag, for a busy machine.
const STOP_DELAY: &str = "3s";

/// A pod behind the balancer.
struct Pod {
    address: SocketAddr,
    admin: SocketAddr,
    /// As last heard.
    ready: bool,
}

/// Forwards connections to gateways in turn, as kube-proxy does, and follows their readiness with a lag.
struct Balancer {
    address: SocketAddr,
    pods: Mutex<Vec<Pod>>,
    next: AtomicU64,
    /// Connections that no gateway has taken.
    refused: AtomicU64,
}

impl Balancer {
    async fn start() -> Arc<Self> {
        let address = ports::free();
        let listener = TcpListener::bind(address).await.expect("a free port");
        let (pods, next) = (Mutex::new(Vec::new()), AtomicU64::new(0));
        let balancer = Arc::new(Self { address, pods, next, refused: AtomicU64::new(0) });
        tokio::spawn(Arc::clone(&balancer).follow());
        let accepts = Arc::clone(&balancer);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepts).forward(client));
            }
        });
        balancer
    }

    fn add(&self, gateway: &Gateway) {
        let pod = Pod { address: gateway.address(), admin: gateway.conf.admin, ready: false };
        self.pods.lock().push(pod);
    }

    fn ready(&self) -> Vec<SocketAddr> {
        self.pods.lock().iter().filter(|pod| pod.ready).map(|pod| pod.address).collect()
    }

    /// What is heard now counts after the lag.
    async fn follow(self: Arc<Self>) {
        loop {
            let admins: Vec<_> = self.pods.lock().iter().map(|pod| pod.admin).collect();
            let mut heard = Vec::new();
            for admin in admins {
                let answer = Client::new(admin).ask(&get("/readyz")).await;
                heard.push((admin, answer.is_ok_and(|answer| answer.head.status == 200)));
            }
            tokio::time::sleep(LAG).await;
            for pod in self.pods.lock().iter_mut() {
                if let Some((_, ready)) = heard.iter().find(|(admin, _)| *admin == pod.admin) {
                    pod.ready = *ready;
                }
            }
        }
    }

    async fn forward(self: Arc<Self>, mut client: TcpStream) {
        let (ready, turn) = (self.ready(), self.next.fetch_add(1, Ordering::Relaxed));
        let pod = usize::try_from(turn).ok().and_then(|turn| ready.get(turn % ready.len().max(1)));
        let Some(Ok(mut gateway)) = (match pod {
            Some(pod) => Some(TcpStream::connect(pod).await),
            None => None,
        }) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let _ = copy_bidirectional(&mut client, &mut gateway).await;
    }
}

async fn deploy(nodes: &[SocketAddr], balancer: &Balancer, server: &str) -> Gateway {
    let gateway = Gateway::start(Conf::new(nodes).server(server)).await;
    balancer.add(&gateway);
    let address = gateway.address();
    until("the balancer sends it connections", || balancer.ready().contains(&address)).await;
    gateway
}

/// Replaces three gateways under load. Returns requests, failures, and connections that were refused.
async fn roll_out(server: &str) -> (u64, Vec<String>, u64) {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(10)));
    let nodes = nodes.each_ref().map(|node| node.addr());
    let balancer = Balancer::start().await;
    let mut pods = Vec::new();
    for _ in 0..3 {
        pods.push(deploy(&nodes, &balancer, server).await);
    }
    // streams of 0.4 s on kept connections, and short requests that each open one
    let plan = |clients, tokens, connection| {
        let pause = Duration::from_millis(20);
        Load::start(balancer.address, Plan { clients, tokens, pause, stream: None, connection })
    };
    let loads = [plan(24, 40, Connection::Kept), plan(24, 3, Connection::Fresh)];
    for _ in 0..3 {
        let new = deploy(&nodes, &balancer, server).await;
        let mut old = pods.remove(0);
        old.process.signal(Signal::TERM);
        until("it has ended", || old.process.ended().is_some()).await;
        assert_eq!(old.process.wait().code(), Some(0), "{}", old.process.stderr());
        pods.push(new);
    }
    let (mut done, mut failures) = (0, Vec::new());
    for load in loads {
        let (ended, failed) = load.finish().await;
        done += ended;
        failures.extend(failed);
    }
    (done, failures, balancer.refused.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_behind_a_late_balancer_fails_no_request() {
    let began = Instant::now();
    let (done, failures, refused) = roll_out(&format!("stop_delay: {STOP_DELAY}")).await;
    assert!(
        failures.is_empty() && refused == 0,
        "{refused} refused, {} of {done} failed: {failures:?}",
        failures.len()
    );
    println!("3 of 3 replaced in {:?}: {done} requests, none failed", began.elapsed());
}

/// The lag is real: without the delay the same update refuses connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_delay_a_late_balancer_finds_nobody() {
    let (done, failures, refused) = roll_out("stop_delay: off").await;
    assert!(refused > 0 && !failures.is_empty(), "{done} requests, {refused} connections refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_the_delay_requests_are_served_but_the_gateway_is_not_ready() {
    let a = node("a", Duration::ZERO);
    let mut gateway = Gateway::start(Conf::new(&[a.addr()]).server("stop_delay: 1h")).await;
    let mut kept = Client::new(gateway.address());
    let models = get("/v1/models");
    assert!(!kept.ask(&models).await.expect("an answer").head.closes());
    gateway.process.signal(Signal::TERM);
    let mut admin = gateway.admin_client();
    gateway.until_status("it stops", |status| status["stopping"] == true).await;
    for path in ["/readyz", "/readyz?exclude=nodes"] {
        let answer = admin.ask(&get(path)).await.expect("an answer");
        assert_eq!((answer.head.status, answer.body.as_str()), (503, "stopping\n"), "{path}");
    }
    assert_eq!(admin.ask(&get("/livez")).await.expect("an answer").head.status, 200);
    for client in [&mut kept, &mut Client::new(gateway.address())] {
        let answer = client.ask(&models).await.expect("an answer");
        assert_eq!((answer.head.status, answer.head.closes()), (200, true));
    }
    // SIGINT ends at once, as a second signal does
    let (code, took) = gateway.stop(Signal::INT);
    assert_eq!(code, Some(1), "{}", gateway.process.stderr());
    assert!(took < Duration::from_secs(5), "{took:?}");
}
