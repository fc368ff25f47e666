//! The fleet's tick, every 100 ms: changes that time alone brings, the questions to ejected nodes, the active checks, and the
//! lists of models.
//!
//! The fleet decides which nodes to ask and interprets the answers. This part only asks, each node in a
//! separate task, so that a node that hangs delays no other.

mod ask;
mod models;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use ask::Asked;

use crate::config::{Check, HttpVersion};
use crate::fleet::{CheckAnswer, Pool, Question, QuestionKind};
use crate::journal::announce;
use crate::live::Live;
use crate::tls::nodes;

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
                let how = How { check: health.check.clone(), limit, version: member.conf.http_version };
                tokio::spawn(ask_and_report(Arc::clone(&member.pool), question, how));
            }
            if fleet.lists_models() {
                let version = member.conf.http_version;
                for question in member.pool.lists_due(now) {
                    tokio::spawn(models::ask_and_tell(Arc::clone(&member.pool), question, version));
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

/// The way to ask a pool's nodes.
struct How {
    /// Without one they are asked for a connection alone.
    check: Option<Check>,
    limit: Duration,
    version: HttpVersion,
}

/// Asks one question and reports the answer to the pool.
async fn ask_and_report(pool: Arc<Pool>, question: Question, how: How) {
    let deadline = tokio::time::Instant::now() + how.limit;
    let mut answer = ask(&question, question.address, &how).await;
    for address in question.node.addresses.after(question.address) {
        if !matches!(answer, CheckAnswer::Failed | CheckAnswer::Refused) {
            break;
        }
        answer = ask(&question, address, &how).await;
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

async fn ask(question: &Question, address: SocketAddr, how: &How) -> CheckAnswer {
    let asked = Asked { node: &question.node, address, version: how.version };
    let limit = how.limit;
    let answer = tokio::time::timeout(limit, async {
        match &how.check {
            Some(check) => asked.get(&check.path, limit, 0).await.map(|(status, _)| status),
            None => asked.accepts(limit).await.map(|()| 200),
        }
    });
    let (pool, node) = (&question.node.pool, &question.node.name);
    let answer = answer.await;
    if let Ok(Ok(_)) = answer
        && how.check.is_some()
    {
        nodes::tell(&question.node, None);
    }
    match answer {
        Ok(Ok(200)) => CheckAnswer::Passed,
        Ok(Ok(status)) => {
            log::debug!(pool:%, node:%; "pool {pool}, node {node}: check failed: status {status}");
            if status == 503 { CheckAnswer::Busy } else { CheckAnswer::Failed }
        }
        Ok(Err(error)) => {
            log::debug!(pool:%, node:%; "pool {pool}, node {node}: check failed: {error}");
            nodes::tell_refusal(&question.node, &error);
            failed(&error)
        }
        Err(_) => CheckAnswer::Slow,
    }
}

/// An error that does not say that nobody is there, such as the gateway's own lack of files, is no refusal.
fn failed(error: &io::Error) -> CheckAnswer {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::TimedOut => CheckAnswer::Slow,
        Kind::ConnectionRefused
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NotFound => CheckAnswer::Refused,
        _ => CheckAnswer::Failed,
    }
}
