//! The ext-proc exchange of one HTTP request: a stream of messages in and a stream of messages out. The
//! connection polls it itself; there is no task and no channel per request.

mod picking;
mod revoking;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::Stream;
use signalbox_extproc::{Action, Conversation, Event, Outcome};
use signalbox_protos::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use signalbox_telemetry::{ActiveSpan, CaughtPanic, catch_panic};
use tokio::time::{Sleep, sleep_until};
use tonic::{Code, Status, Streaming};

use self::picking::WaitingExchange;
use crate::bookings::booked_request::BookedRequest;
use crate::deciding::picker::Picker;
use crate::flow_control::RevocablePlace;
use crate::gateway::gateway_connections::OpenStream;
use crate::gateway::long_work::run_long;
use crate::metrics::bounded_labels::Service;
use crate::metrics::go_epp::RequestSummary;

/// A gateway that leaves the rest of a response off the stream closes it as soon as it has its last answer. A
/// stream that stays open at least this much longer waited for the end of the response, so the response has
/// ended.
const END_SEEN_AFTER: Duration = Duration::from_millis(100);

/// The ext-proc exchange of one HTTP request.
pub(crate) struct Exchange {
    picker: Arc<Picker>,
    inbound: Streaming<ProcessingRequest>,
    conversation: Conversation,
    /// Span of the decision, if it is sampled.
    span: Option<ActiveSpan>,
    arrived_at: Instant,
    /// What the metrics count when the stream ends.
    summary: RequestSummary,
    replies: VecDeque<ProcessingResponse>,
    /// The request while it waits for a place.
    waiting: Option<WaitingExchange>,
    booked: Option<BookedRequest>,
    /// The request's place while it can be revoked.
    revocable: Option<RevocablePlace>,
    /// Whether the request was revoked.
    is_revoked: bool,
    /// Completes when the prompt of a request whose response comes in one piece should be processed.
    prefill_ends: Option<Pin<Box<Sleep>>>,
    /// Number of the booking if the gateway may hide the end of the response.
    booking_number: Option<u64>,
    /// When the connection took the last answer.
    answered_at: Option<Instant>,
    state: State,
    /// Completes when the booking of a half-closed stream expires.
    half_closed_until: Option<Pin<Box<Sleep>>>,
    /// Counts the stream at its port.
    _open: OpenStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The gateway sends nothing more while the request waits for a place.
    HalfClosedInQueue,
    /// The gateway sends nothing more, but may still be waiting for the response.
    HalfClosed,
    /// The queued replies are sent, then the stream ends.
    Closing,
}

impl Exchange {
    pub(crate) fn new(picker: Arc<Picker>, inbound: Streaming<ProcessingRequest>, open: OpenStream) -> Self {
        let conversation = Conversation::new(picker.conversation_config(), rand::random());
        picker.metrics.open_streams.inc();
        Self {
            picker,
            inbound,
            conversation,
            span: None,
            arrived_at: Instant::now(),
            summary: RequestSummary::default(),
            replies: VecDeque::new(),
            waiting: None,
            booked: None,
            revocable: None,
            is_revoked: false,
            prefill_ends: None,
            booking_number: None,
            answered_at: None,
            state: State::Open,
            half_closed_until: None,
            _open: open,
        }
    }

    /// Handles an event; see [`Self::guarded`].
    fn handle_guarded(&mut self, event: Event) {
        if self.conversation.takes_long(&event) {
            run_long(|| self.guarded(|this| this.handle(event)));
        } else {
            self.guarded(|this| this.handle(event));
        }
        if self.conversation.awaited_pick_bytes().is_none() {
            // The gateway has answered by itself.
            self.waiting = None;
        }
        self.keep_revocable_if_unanswered();
    }

    /// Performs a step. A panic ends this stream, not the connection that it shares with others.
    fn guarded(&mut self, step: impl FnOnce(&mut Self)) {
        if self.has_panicked(step) {
            self.state = State::Closing;
            if self.conversation.outcome() == Outcome::NotSent {
                self.replies.push_back(self.conversation.internal_error());
            }
        }
    }

    /// Performs a step and returns whether it panicked, which is counted and logged.
    fn has_panicked(&mut self, step: impl FnOnce(&mut Self)) -> bool {
        let Err(panic) = catch_panic(|| step(self)) else { return false };
        self.picker.record_panic(&panic, self.conversation.request_id());
        true
    }

    fn handle(&mut self, event: Event) {
        if let Event::Message(message) = &event {
            self.span = self.span.take().or_else(|| self.picker.recorder.start_span(message));
        }
        for action in self.conversation.step(event) {
            match action {
                Action::Pick(parsed) => self.pick(parsed),
                Action::Reply(reply) => self.replies.push_back(reply),
                Action::ControlHeadersIgnored { count } => self.picker.metrics.count_ignored_headers(count),
                Action::Panicked => {
                    self.picker.record_panic(&CaughtPanic::last(), self.conversation.request_id());
                }
                Action::ServedBy(address) => {
                    if let Some(booked) = &mut self.booked {
                        booked.move_to(&self.picker, address);
                    }
                }
                Action::ResponseStarted { status } => {
                    self.summary.service = Some(Service::of_status(status));
                    if let Some(booked) = &mut self.booked {
                        booked.handle_response_headers(&self.picker, status);
                    }
                }
                Action::FirstOutput(output) => {
                    self.summary.time_to_first_token = Some(self.arrived_at.elapsed());
                    if let Some(booked) = &mut self.booked {
                        booked.handle_first_output(&self.picker, output);
                    }
                }
                Action::ErrorReported { status } => {
                    if self.summary.time_to_first_token.is_none() {
                        self.summary.service = Some(Service::Unserved);
                    }
                    if let Some(booked) = &mut self.booked {
                        booked.handle_error(&self.picker, status);
                    }
                }
                Action::ResponseStored(response) => {
                    if let Some(booked) = &self.booked {
                        self.picker.record_stored_response(response, booked.endpoint);
                    }
                }
                Action::ResponseDeleted(response) => {
                    if let Some(booked) = &self.booked {
                        self.picker.forget_stored_response(response, booked.endpoint);
                    }
                }
                Action::Usage(usage) => {
                    self.picker.metrics.count_usage(&usage);
                    if let Some(booked) = &mut self.booked {
                        booked.handle_usage(&self.picker, &usage);
                    }
                    self.summary.usage = Some(usage);
                }
                Action::ResponseEnded => {
                    if let Some(booked) = self.booked.take() {
                        self.end(booked);
                    }
                }
                Action::Close => self.state = State::Closing,
            }
        }
    }

    /// Releases the booking of a request that has ended.
    fn end(&self, booked: BookedRequest) {
        if self.conversation.has_response_body() {
            booked.end(&self.picker);
        } else {
            booked.end_hidden(&self.picker);
        }
    }

    /// Settles the booking: now, or when the end of the response is reported if the gateway hides it.
    fn settle(&mut self) {
        let is_hidden = self.conversation.outcome() == Outcome::Hidden;
        // An answer that the connection did not take yet cannot have been waited for.
        let has_waited =
            self.replies.is_empty() && self.answered_at.is_some_and(|at| at.elapsed() >= END_SEEN_AFTER);
        let number = self.booking_number.take();
        let Some(mut booked) = self.booked.take() else {
            return number.into_iter().for_each(|number| self.picker.detached.remove(number));
        };
        let has_ended = is_hidden && (has_waited || booked.is_over());
        match number {
            Some(number) if is_hidden && !has_ended => {
                booked.report_hidden_success(&self.picker);
                return self.picker.detach(number, booked);
            }
            Some(number) => self.picker.detached.remove(number),
            None => {}
        }
        if has_ended {
            self.end(booked);
        } else {
            booked.abort(&self.picker);
        }
    }

    /// Handles the end of the gateway's messages. If the response goes on, its booking stays until the
    /// gateway closes the other half of the stream too, or until the booking would expire.
    fn half_close(&mut self) {
        self.conversation.half_close();
        self.keep_revocable_if_unanswered();
        let goes_on = self.conversation.outcome() == Outcome::Aborted;
        self.state = match self.booked.as_ref().filter(|_| goes_on) {
            Some(booked) => {
                let expiry = self.picker.detached.expiry(booked);
                self.half_closed_until = Some(Box::pin(sleep_until(expiry.into())));
                State::HalfClosed
            }
            None => State::Closing,
        };
    }
}

impl Stream for Exchange {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(reply) = this.replies.pop_front() {
                this.answered_at = Some(Instant::now());
                return Poll::Ready(Some(Ok(reply)));
            }
            this.poll_prefill(context);
            if let (State::HalfClosed, Some(timer)) = (this.state, &mut this.half_closed_until) {
                ready!(timer.as_mut().poll(context));
                this.state = State::Closing;
            }
            if this.state == State::Closing {
                return Poll::Ready(None);
            }
            if this.poll_wait(context).is_ready() {
                continue;
            }
            if this.state == State::HalfClosedInQueue {
                return Poll::Pending;
            }
            if this.conversation.holds_body_back() {
                // Unread messages hold the gateway back. If it gives up, it resets the stream.
                return Poll::Pending;
            }
            this.conversation.release_sent_body();
            // A response that has arrived goes before a revocation.
            let Poll::Ready(message) = Pin::new(&mut this.inbound).poll_next(context) else {
                ready!(this.poll_revoked(context));
                continue;
            };
            match message {
                Some(Ok(message)) => this.handle_guarded(Event::Message(message)),
                // The message is too long. The gateway is still there and waits for an answer.
                Some(Err(status)) if status.code() == Code::OutOfRange => {
                    this.handle_guarded(Event::MessageTooLong);
                    this.state = State::Closing;
                }
                // The gateway has reset the stream or is gone; there is nobody to answer.
                Some(Err(_)) => this.state = State::Closing,
                None if this.waiting.is_some() => this.state = State::HalfClosedInQueue,
                None => this.half_close(),
            }
        }
    }
}

impl Exchange {
    /// Lets a prompt count as processed when it should be, if no output will show it in time.
    fn poll_prefill(&mut self, context: &mut Context<'_>) {
        let Some(timer) = &mut self.prefill_ends else { return };
        if timer.as_mut().poll(context).is_ready() {
            self.prefill_ends = None;
            if let Some(booked) = &mut self.booked {
                booked.booking.record_first_output(self.picker.now_ms());
            }
            if let Some(place) = &mut self.revocable {
                place.record_processed();
            }
        }
    }

    /// Counts the request and its outcome.
    fn report(&mut self) {
        if let Some(refusal) = self.conversation.refusal() {
            self.picker.metrics.count_refusal(refusal);
            tracing::debug!(request_id = self.conversation.request_id(), %refusal, "refused a request");
            self.summary.refusal_code = Some(refusal.code());
        }
        if self.waiting.take().is_some() {
            self.count_wait_end("EvictedContextCancelled");
        }
        if self.is_revoked && self.replies.is_empty() {
            self.picker.metrics.requests.revocations.count_confirmed();
        }
        if self.conversation.outcome() == Outcome::Hidden {
            // If nothing was seen of the response, nothing speaks against it.
            self.summary.service.get_or_insert(Service::Served);
        }
        if self.conversation.request_id().is_some() {
            self.picker.metrics.requests.count(&self.summary);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for step in [Self::report, Self::settle] {
            self.has_panicked(step);
        }
        self.picker.metrics.open_streams.dec();
    }
}

#[cfg(test)]
mod tests;
