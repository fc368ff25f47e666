//! The fleet's tick, every 100 ms: changes that time alone brings, the questions to ejected nodes, the active checks, and the
//! lists of models.
//!
//! The fleet decides which nodes to ask and interprets the answers. This part only asks, each node in a
//! separate task, so that a node that hangs delays no other.

mod models;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};

use crate::config::{Check, HttpVersion};
use crate::fleet::{CheckAnswer, Pool, Question, QuestionKind};
use crate::journal::announce;
use crate::live::Live;

/// Interval at which the fleet is polled for questions; it limits the precision of the configured times.
const TICK: Duration = Duration::from_millis(100);

/// The background service that asks the nodes.
pub struct HealthChecker {
    live: Arc<Live>,
}

impl HealthChecker {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    fn tick(&self) {
        let now = Instant::now();
        let fleet = self.live.fleet();
        for member in &fleet.pools {
            member.pool.tick(now).iter().for_each(announce);
            for question in member.pool.questions(now) {
                let health = &member.conf.health;
                let limit = health.check.as_ref().map_or(member.conf.timeouts.connect, |check| check.timeout);
                tokio::spawn(ask_and_report(Arc::clone(&member.pool), question, health.check.clone(), limit));
            }
            if fleet.lists_models() && member.conf.http_version == HttpVersion::H1 {
                for question in member.pool.lists_due(now) {
                    tokio::spawn(models::ask_and_tell(Arc::clone(&member.pool), question));
                }
            }
        }
    }
}

#[async_trait]
impl BackgroundService for HealthChecker {
    /// Continues during a shutdown: requests still in flight need their nodes back.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }
}

/// Asks one question and reports the answer to the pool.
async fn ask_and_report(pool: Arc<Pool>, question: Question, check: Option<Check>, limit: Duration) {
    let deadline = tokio::time::Instant::now() + limit;
    let mut answer = ask(&question, question.address, check.as_ref(), limit).await;
    for address in question.node.addresses.after(question.address) {
        if !matches!(answer, CheckAnswer::Failed | CheckAnswer::Refused) {
            break;
        }
        answer = ask(&question, address, check.as_ref(), limit).await;
        if answer == CheckAnswer::Passed {
            pool.resolved(question.key, Some(address), Instant::now()).iter().for_each(announce);
        }
    }
    let may_be_at_work = matches!(answer, CheckAnswer::Slow | CheckAnswer::Busy);
    if may_be_at_work && question.kind == QuestionKind::Check && question.has_work {
        // a 503 comes at once; give the node as long to show that it is at work as if it had not answered
        tokio::time::sleep_until(deadline).await;
    }
    pool.answer(&question, answer, Instant::now()).iter().for_each(announce);
}

async fn ask(
    question: &Question,
    address: SocketAddr,
    check: Option<&Check>,
    limit: Duration,
) -> CheckAnswer {
    let Ok(backend) = Backend::new(&address.to_string()) else { return CheckAnswer::Failed };
    let asked = async {
        match check {
            Some(check) => http_check(question, check).check(&backend).await,
            None => tcp_check(limit).check(&backend).await,
        }
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(())) => CheckAnswer::Passed,
        Ok(Err(error)) => {
            let (pool, node) = (&question.node.pool, &question.node.name);
            log::debug!(pool:%, node:%; "pool {pool}, node {node}: check failed: {error}");
            failed(&error)
        }
        Err(_) => CheckAnswer::Slow,
    }
}

/// Pingora's check reports a status other than 200 as a custom error code. Any other error, such as the gateway's own lack
/// of files, does not show that nobody is there.
fn failed(error: &Error) -> CheckAnswer {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => CheckAnswer::Slow,
        ErrorType::CustomCode(_, 503) => CheckAnswer::Busy,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectionClosed
        | ErrorType::ReadError
        | ErrorType::WriteError => CheckAnswer::Refused,
        _ => CheckAnswer::Failed,
    }
}

fn http_check(question: &Question, check: &Check) -> HttpHealthCheck {
    let mut http = HttpHealthCheck::new(&question.node.address.to_string(), false);
    http.peer_template.options.connection_timeout = Some(check.timeout);
    http.peer_template.options.read_timeout = Some(check.timeout);
    if let Ok(uri) = check.path.parse() {
        http.req.set_uri(uri);
    }
    http
}

fn tcp_check(limit: Duration) -> Box<TcpHealthCheck> {
    let mut tcp = TcpHealthCheck::new();
    tcp.peer_template.options.connection_timeout = Some(limit);
    tcp
}
