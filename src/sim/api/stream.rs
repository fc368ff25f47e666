//! Streaming a simulated answer: an event for each token or some of them, then the planned end.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use super::super::body::EventSource;
use super::super::engine::{End, Sequence};
use super::super::flight::Flight;
use super::super::stats::add;
use super::super::wire::Cut;
use super::errors::ApiError;
use super::plan::{Ending, Plan};
use super::render::Render;
use super::speech::Abort;

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
    /// Events that have gone out, for a cut at one of them.
    passed: u32,
    stage: Stage,
    queue: VecDeque<Bytes>,
    /// Before anything else.
    wait: Option<Pin<Box<Sleep>>>,
}

impl EventSource for TokenStream {
    fn is_finished(&self) -> bool {
        let is_cut = matches!(self.plan.ending, Ending::Cut { .. });
        self.stage == Stage::Tail && self.queue.is_empty() && !is_cut
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, flight: &Flight) -> Poll<Option<Bytes>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        loop {
            if let Some(event) = self.queue.pop_front() {
                match self.cut_at(event, flight) {
                    Some(event) => return Poll::Ready(Some(event)),
                    None => continue,
                }
            }
            match self.stage {
                Stage::Tail if matches!(self.plan.ending, Ending::Cut { .. }) => {
                    self.cut(flight, Cut::Fin);
                    return Poll::Pending;
                }
                Stage::Tail => return Poll::Ready(None),
                Stage::Silent => return Poll::Pending,
                Stage::Tokens => {}
            }
            let most = flight.shared.options.tokens_per_event;
            let (count, end) = ready!(self.sequence.poll_next(cx, self.sent, most));
            let tokens = self.sent..self.sent + count;
            self.sent = tokens.end;
            match end {
                Some(end) => self.end(tokens, end, flight),
                None => self.tokens(tokens),
            }
        }
    }
}

impl TokenStream {
    pub(crate) fn new(render: Render, plan: Plan, sequence: Sequence) -> Self {
        let wait = match plan.ending {
            Ending::QueueTimeout { delay_ms } => Some(Box::pin(sleep(Duration::from_millis(delay_ms)))),
            _ => None,
        };
        TokenStream {
            render,
            plan,
            sequence,
            sent: 0,
            passed: 0,
            stage: Stage::Tokens,
            queue: VecDeque::new(),
            wait,
        }
    }

    /// The next event, or the beginning of one within which the stream is cut.
    fn cut_at(&mut self, event: Bytes, flight: &Flight) -> Option<Bytes> {
        match self.plan.ending {
            Ending::Cut { events, within } if self.passed == events => {
                self.queue.clear();
                self.cut(flight, Cut::Fin);
                within.then(|| event.slice(..event.len() / 2))
            }
            _ => {
                self.passed += 1;
                Some(event)
            }
        }
    }

    fn tokens(&mut self, tokens: Range<u32>) {
        if tokens.is_empty() {
            return;
        }
        self.begin(&tokens);
        let event = self.render.token(tokens);
        self.queue.push_back(event);
    }

    fn begin(&mut self, tokens: &Range<u32>) {
        if tokens.start == 0 {
            self.queue.extend(self.render.begin());
        }
    }

    /// The end, with the last tokens.
    fn end(&mut self, tokens: Range<u32>, end: End, flight: &Flight) {
        let ending = match end {
            End::Done => self.plan.ending,
            End::Aborted => Ending::Abort,
            End::Lost => Ending::Stall,
        };
        self.stage = Stage::Tail;
        self.render.count_prompt(flight, self.sequence.cached());
        match ending {
            Ending::Finish => {
                add(&flight.shared.counters.succeeded, 1);
                return self.finish(tokens, self.plan.reason, true);
            }
            Ending::Abort if self.render.speech.abort == Abort::Told => {
                return self.finish(tokens, "abort", true);
            }
            Ending::Cut { .. } => return self.finish(tokens, self.plan.reason, true),
            Ending::NoDone { finished: true } => return self.finish(tokens, self.plan.reason, false),
            _ => self.tokens(tokens),
        }
        match ending {
            Ending::Error { code } => {
                let (prompt, engine) = (self.render.prompt_tokens(), flight.shared.options.engine);
                self.error(&ApiError::of_engine(code, prompt, engine), flight);
            }
            Ending::Full => self.error(&ApiError::full(flight.shared.options.engine), flight),
            Ending::QueueTimeout { .. } => self.error(&ApiError::queue_timeout(), flight),
            Ending::Abort => self.cut(flight, Cut::Fin),
            Ending::Stall => self.stage = Stage::Silent,
            Ending::Die => self.cut(flight, Cut::Rst),
            Ending::Truncate => self.cut(flight, Cut::Fin),
            Ending::Crash => {
                self.stage = Stage::Silent;
                flight.shared.crash_by_fault();
            }
            Ending::Finish | Ending::NoDone { .. } | Ending::Cut { .. } => {}
        }
    }

    fn finish(&mut self, tokens: Range<u32>, reason: &'static str, done: bool) {
        self.begin(&tokens);
        let rest = if self.render.end_has_text {
            tokens
        } else {
            let end = tokens.end..tokens.end;
            if !tokens.is_empty() {
                let event = self.render.token(tokens);
                self.queue.push_back(event);
            }
            end
        };
        self.queue.extend(self.render.end(&rest, reason));
        if done {
            self.queue.extend(self.render.done(self.sent));
        } else if self.render.speech.done.is_empty() {
            self.queue.pop_back();
        }
    }

    fn error(&mut self, error: &ApiError, flight: &Flight) {
        if self.render.speech.error.is_empty() {
            return self.cut(flight, Cut::Fin);
        }
        self.queue.extend(self.render.error(error));
    }

    /// Cuts the connection; its task first writes the events before.
    fn cut(&mut self, flight: &Flight, how: Cut) {
        self.stage = Stage::Silent;
        flight.conn.cut(how);
    }
}
