//! Streaming a simulated answer: one event per token, then the planned end.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::super::body::EventSource;
use super::super::engine::{End, Next, Sequence};
use super::super::flight::Flight;
use super::super::stats::add;
use super::super::wire::Cut;
use super::errors::{DEAD_ENGINE, QUEUE_FULL};
use super::plan::{Ending, Plan};
use super::render::{DONE, Render, error_event};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tokens,
    /// All tokens are sent; the events in `queue` follow, then the end of the body.
    Tail,
    /// Silence: nothing follows, not even an end.
    Silent,
}

pub(crate) struct TokenStream {
    render: Render,
    plan: Plan,
    sequence: Sequence,
    sent: u32,
    stage: Stage,
    queue: VecDeque<Bytes>,
}

impl EventSource for TokenStream {
    fn is_finished(&self) -> bool {
        self.stage == Stage::Tail && self.queue.is_empty()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, flight: &Flight) -> Poll<Option<Bytes>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(Some(event));
            }
            match self.stage {
                Stage::Tail => return Poll::Ready(None),
                Stage::Silent => return Poll::Pending,
                Stage::Tokens => {}
            }
            match ready!(self.sequence.poll_next(cx, self.sent)) {
                Next::Token => {
                    let event = self.render.token(self.sent);
                    self.sent += 1;
                    if self.sent > 1 || !self.render.is_chat() {
                        return Poll::Ready(Some(event));
                    }
                    self.queue.extend([self.render.role(), event]);
                }
                Next::End(end) => self.end(end, flight),
            }
        }
    }
}

impl TokenStream {
    pub(crate) fn new(render: Render, plan: Plan, sequence: Sequence) -> Self {
        TokenStream { render, plan, sequence, sent: 0, stage: Stage::Tokens, queue: VecDeque::new() }
    }

    fn end(&mut self, end: End, flight: &Flight) {
        let ending = match end {
            End::Done => self.plan.ending,
            End::Aborted => Ending::Abort,
            End::Lost => Ending::Stall,
        };
        self.stage = Stage::Tail;
        match ending {
            Ending::Finish => {
                add(&flight.shared.counters.succeeded, 1);
                self.finish(self.plan.reason, true);
            }
            Ending::Abort => self.finish("abort", true),
            Ending::NoDone { finished: true } => self.finish(self.plan.reason, false),
            Ending::NoDone { finished: false } => {}
            Ending::Error { code } => self.error(error_event(code, "InternalServerError", DEAD_ENGINE)),
            Ending::Full => self.error(error_event(503, "ServiceUnavailableError", QUEUE_FULL)),
            Ending::Stall => self.stage = Stage::Silent,
            Ending::Die => self.cut(flight, Cut::Rst),
            Ending::Truncate => self.cut(flight, Cut::Fin),
            Ending::Crash => {
                self.stage = Stage::Silent;
                flight.shared.crash_by_fault();
            }
        }
    }

    fn finish(&mut self, reason: &str, done: bool) {
        if self.sent == 0 && self.render.is_chat() {
            self.queue.push_back(self.render.role());
        }
        self.queue.push_back(self.render.finish(reason, self.sent));
        if self.render.has_usage_event() {
            self.queue.push_back(self.render.usage(self.sent));
        }
        if done {
            self.queue.push_back(Bytes::from_static(DONE.as_bytes()));
        }
    }

    fn error(&mut self, event: Bytes) {
        self.queue.extend([event, Bytes::from_static(DONE.as_bytes())]);
    }

    /// Cuts the connection; its task first writes the events before.
    fn cut(&mut self, flight: &Flight, how: Cut) {
        self.stage = Stage::Silent;
        flight.conn.cut(how);
    }
}
