//! Several gateways as one: credits for nodes and keys are exchanged over Redis, beside the requests.
//!
//! The decisions are in [`crate::credits`]. Here is what moves: a task that calls Redis some times a second, at once when a request
//! begins to wait, and a listener at which the others ask whether this process lives. No request waits for either.

mod gather;
mod link;
mod peers;
mod round;
mod view;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::{Condvar, Mutex};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::link::Link;
use self::round::Round;
use self::view::View;
use crate::config::Cluster as Settings;
use crate::credits::{self, Member, MemberId, Standing, Terms, Verdict};
use crate::fleet::Bell;
use crate::live::Live;

/// An epoch of the ledger settles after this time, in which every gateway has called some times.
const SETTLE: Duration = Duration::from_secs(2);
/// A gateway that has not called for so long need not know of a newcomer.
const KNOWN: Duration = Duration::from_secs(5);
/// The longest time between two calls.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// The longest pause after a failed call.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The pause while an interactive request waits.
const URGENT: Duration = Duration::from_millis(20);
/// The shortest pause between two calls.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Interval at which a gateway without a cluster looks for one in its config.
const LOOK: Duration = Duration::from_secs(1);
/// Questions to other gateways at a time.
const QUESTIONS: usize = 16;

/// The background service that exchanges credits.
pub struct Cluster {
    live: Arc<Live>,
    departure: Arc<Departure>,
}

/// The way to tell the others, at the end of the process, that it holds nothing any more.
#[derive(Debug, Default)]
pub struct Departure {
    asked: Notify,
    stage: Mutex<Stage>,
    gone: Condvar,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Stage {
    /// There is nobody to take leave of.
    #[default]
    Apart,
    Member,
    Gone,
}

impl Departure {
    /// Leaves the cluster; call it when no request is left. Returns when that is done, or after this time at the latest: then the
    /// others find out by themselves.
    pub fn leave(&self, within: Duration) {
        let mut stage = self.stage.lock();
        if *stage == Stage::Member {
            self.asked.notify_one();
            self.gone.wait_while_for(&mut stage, |stage| *stage != Stage::Gone, within);
        }
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock() = stage;
        self.gone.notify_all();
    }
}

/// The end of a membership.
enum End {
    /// The config has no cluster any more.
    Dismissed,
    Left,
}

impl Cluster {
    pub fn new(live: Arc<Live>, departure: Arc<Departure>) -> Self {
        Self { live, departure }
    }

    fn settings(&self) -> Option<Settings> {
        self.live.fleet().config.cluster.clone()
    }

    async fn belong(&self, mut conf: Settings) -> End {
        let id = MemberId(fastrand::u64(1..));
        let view = View::new(&self.live.cluster, &conf, id, Instant::now());
        let mut member = Member::new(id, String::new(), times(&conf));
        let mut keys = keys(&conf);
        let mut link: Option<Link> = None;
        let mut listening = JoinSet::new();
        let mut questions = JoinSet::new();
        let mut pause = conf.interval;
        loop {
            let Some(next) = self.settings() else { return End::Dismissed };
            if next != conf {
                if (&next.redis, &next.name) != (&conf.redis, &conf.name) {
                    (link, keys) = (None, self::keys(&next));
                }
                conf = next;
                member.set(times(&conf));
                view.configured(&conf);
            }
            if self.live.is_stopping() {
                member.prepare_to_leave();
            }
            let round = Round { live: &self.live, keys: &keys, view: &view };
            let done = match &mut link {
                Some(link) => round.go(&mut member, link).await,
                None => match Link::open(&conf.redis).await {
                    Ok(mut open) => {
                        if listening.is_empty() {
                            found(&mut member, &conf, &open, &mut listening).await;
                        }
                        let done = round.go(&mut member, &mut open).await;
                        link = Some(open);
                        done
                    }
                    Err(why) => Err(why),
                },
            };
            match done {
                Ok(is_urgent) => pause = if is_urgent { conf.interval.min(URGENT) } else { conf.interval },
                Err(why) => {
                    link = None;
                    member.failed();
                    view.failed(&why, member.standing() != Standing::Never, Instant::now());
                    pause = (pause * 2).clamp(conf.interval.min(PAUSE_MAX), PAUSE_MAX);
                }
            }
            for question in member.watch.questions(QUESTIONS.saturating_sub(questions.len()), Instant::now())
            {
                questions
                    .spawn(async move { (question.id, peers::ask(question.id, question.address).await) });
            }
            let bell = self.live.fleet().bell().cloned().filter(|_| link.is_some());
            tokio::select! {
                () = self.departure.asked.notified() => {
                    if let Some(link) = &mut link {
                        round.leave(&mut member, link).await;
                    }
                    return End::Left;
                }
                Some(Ok((id, heard))) = questions.join_next() => {
                    self.judge(&mut member, link.as_mut(), &round, id, heard).await;
                }
                () = rung(bell.as_deref()) => sleep(PAUSE_MIN).await,
                () = sleep(pause) => {}
            }
        }
    }

    /// Takes in a fellow's answer, and takes it out of the ledger if it is dead.
    async fn judge(
        &self,
        member: &mut Member,
        link: Option<&mut Link>,
        round: &Round<'_>,
        id: MemberId,
        heard: credits::Heard,
    ) {
        let Some(found) = member.watch.heard(id, heard, Instant::now()) else { return };
        let verdict = match found.verdict {
            Verdict::Lives | Verdict::Unknown => return,
            Verdict::Dead => "is dead".to_owned(),
            Verdict::Forgotten => format!("has been silent for {:?}", found.silent),
        };
        if let Some(link) = link
            && round.bury(member, link, id, found.seq).await
        {
            round.view.buried(id, &verdict);
        }
    }
}

/// The bell rings. Without one: never.
async fn rung(bell: Option<&Bell>) {
    match bell {
        Some(bell) => bell.rung().await,
        None => std::future::pending().await,
    }
}

/// The member is to be found where it comes to Redis from, or where the config says.
async fn found(member: &mut Member, conf: &Settings, link: &Link, listening: &mut JoinSet<()>) {
    let address = conf.listen.unwrap_or_else(|| SocketAddr::new(link.local, 0));
    let listener = peers::listen(address).await;
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    match bound {
        Ok((address, listener)) => {
            let is_direct = link.is_direct && address.ip() == link.local;
            let mark = if is_direct { String::new() } else { peers::NOT_DIRECT.to_string() };
            member.set_address(format!("{address}{mark}"));
            member.watch.set_own(is_direct.then(|| address.ip().to_string()));
            listening.spawn(peers::answer(listener, member.id()));
        }
        Err(error) => log::error!(
            "cluster {}: cannot listen on {address}, where the other gateways would ask whether this one lives: {error}; if it dies, its credits come back after forget_after only",
            conf.name
        ),
    }
}

fn times(conf: &Settings) -> credits::Settings {
    credits::Settings { heartbeat: HEARTBEAT, forget_after: conf.forget_after }
}

fn keys(conf: &Settings) -> wire::Keys {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    wire::Keys::new(&conf.name, Terms { settle_ms: ms(SETTLE), known_ms: ms(KNOWN) })
}

#[async_trait]
impl BackgroundService for Cluster {
    /// Goes on while the last requests end: their slots are given back as they do.
    async fn start(&self, _shutdown: ShutdownWatch) {
        loop {
            let Some(conf) = self.settings() else {
                sleep(LOOK).await;
                continue;
            };
            self.departure.set(Stage::Member);
            let end = self.belong(conf).await;
            *self.live.cluster.lock() = None;
            match end {
                End::Dismissed => self.departure.set(Stage::Apart),
                End::Left => return self.departure.set(Stage::Gone),
            }
        }
    }
}
