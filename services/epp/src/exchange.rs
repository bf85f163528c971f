//! One HTTP request of a gateway: a stream of messages in, a stream of messages out, polled by the connection itself. No task
//! is spawned for it and no channel stands in between.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::Stream;
use signalbox_extproc::{Action, Conversation, Event, Outcome, fault};
use signalbox_intake::Intake;
use signalbox_protos::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use signalbox_telemetry::{Begun, Fault, catch_fault};
use signalbox_types::BookingId;
use tonic::{Code, Status, Streaming};

use crate::booked::Booked;
use crate::metrics::Over;
use crate::pick::Picked;
use crate::picker::Picker;
use crate::records::Source;

/// A gateway that leaves the rest of a response off the stream ends it as soon as it has its last answer. One that ends it so much later
/// had waited for the response's end, and has seen it.
const LINGERS: Duration = Duration::from_millis(100);

/// One HTTP request of a gateway.
pub(crate) struct Exchange {
    picker: Arc<Picker>,
    inbound: Streaming<ProcessingRequest>,
    conversation: Conversation,
    /// The span of the decision, if it is wanted.
    begun: Option<Begun>,
    arrived_at: Instant,
    /// What is to be counted when the stream is over.
    over: Over,
    replies: VecDeque<ProcessingResponse>,
    booked: Option<Booked>,
    /// By which the booking is known where the response's end may be told by somebody else.
    number: Option<u64>,
    /// When the gateway was last answered, where it may hide the response's end.
    answered_at: Option<Instant>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What is left to say is said, then the stream ends.
    Closing,
}

impl Exchange {
    pub(crate) fn new(picker: Arc<Picker>, inbound: Streaming<ProcessingRequest>) -> Self {
        let conversation = Conversation::new(picker.conversation(), rand::random());
        picker.metrics.streams.inc();
        Self {
            picker,
            inbound,
            conversation,
            begun: None,
            arrived_at: Instant::now(),
            over: Over::default(),
            replies: VecDeque::new(),
            booked: None,
            number: None,
            answered_at: None,
            state: State::Open,
        }
    }

    /// Takes an event. A fault in that costs this stream, not the connection that it shares with others.
    fn take_guarded(&mut self, event: Event) {
        if let Err(caught) = catch_fault(|| self.take(event)) {
            self.picker.tell(&caught, self.conversation.request_id());
            self.state = State::Closing;
            if self.conversation.outcome() == Outcome::Unpicked {
                self.replies.push_back(fault());
            }
        }
    }

    fn take(&mut self, event: Event) {
        if let Event::Message(message) = &event {
            self.begun = self.begun.take().or_else(|| self.picker.records.begin(message));
        }
        for action in self.conversation.step(event) {
            match action {
                Action::Pick(intake) => self.pick(intake),
                Action::Reply(reply) => self.replies.push_back(reply),
                Action::Ignored { controls } => self.picker.metrics.ignored(controls),
                Action::Panicked => self.picker.tell(&Fault::last(), self.conversation.request_id()),
                Action::Served(address) => {
                    if let Some(booked) = &mut self.booked {
                        booked.served(&self.picker, address);
                    }
                }
                Action::ResponseStarted { status } => {
                    self.answered();
                    if let Some(booked) = &mut self.booked {
                        booked.responded(&self.picker, status);
                    }
                }
                Action::FirstChunk => {
                    self.over.first_token = Some(self.arrived_at.elapsed());
                    if let Some(booked) = &mut self.booked {
                        booked.first_chunk(&self.picker);
                    }
                }
                Action::Usage(usage) => {
                    self.picker.metrics.used(&usage);
                    self.over.usage = Some(usage);
                }
                Action::ResponseEnded => self.booked = None,
                Action::Close => self.state = State::Closing,
            }
        }
    }

    fn pick(&mut self, intake: Intake) {
        self.over.target_model.clone_from(&intake.request.model);
        self.over.asked_model.clone_from(intake.asked_model.as_ref().unwrap_or(&intake.request.model));
        let source = Source { request_id: self.conversation.request_id(), begun: self.begun.take() };
        let picked = self.picker.pick_or_fall_back(intake, source).map(|picked| {
            let Picked { mut destination, booked } = picked;
            if self.conversation.may_hide_response() {
                let number = self.picker.held.number();
                self.number = Some(number);
                destination = destination.booked(BookingId { replica: self.picker.replica, number });
            }
            tracing::debug!(
                request_id = self.conversation.request_id(),
                endpoint = destination.as_str(),
                "endpoint picked"
            );
            self.booked = Some(booked);
            destination
        });
        self.take(Event::Picked(picked));
        self.answered();
    }

    fn answered(&mut self) {
        if self.number.is_some() {
            self.answered_at = Some(Instant::now());
        }
    }

    /// Settles the booking: at once, or, where the gateway hides the end of the response, when that is told.
    fn settle(&mut self) {
        let Some(number) = self.number.take() else { return drop(self.booked.take()) };
        let lingered = self.answered_at.is_some_and(|at| at.elapsed() >= LINGERS);
        let is_hidden = self.conversation.outcome() == Outcome::Hidden && !lingered;
        // What was told of it already came with the end.
        match self.booked.take().filter(|booked| is_hidden && !booked.is_told) {
            Some(booked) => self.picker.hold(number, booked),
            None => self.picker.held.forget(number),
        }
    }
}

impl Stream for Exchange {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(reply) = this.replies.pop_front() {
                return Poll::Ready(Some(Ok(reply)));
            }
            if this.state == State::Closing {
                return Poll::Ready(None);
            }
            this.conversation.handed_over();
            match ready!(Pin::new(&mut this.inbound).poll_next(context)) {
                Some(Ok(message)) => this.take_guarded(Event::Message(message)),
                // The gateway is there, and waits for an answer.
                Some(Err(status)) if status.code() == Code::OutOfRange => {
                    this.take_guarded(Event::Overlong);
                    this.state = State::Closing;
                }
                // The gateway is done, or gone; either way there is nobody to answer.
                Some(Err(_)) | None => this.state = State::Closing,
            }
        }
    }
}

impl Exchange {
    /// Counts what came of the request.
    fn report(&mut self) {
        if let Some(refusal) = self.conversation.refusal() {
            self.picker.metrics.refused(refusal);
            tracing::debug!(request_id = self.conversation.request_id(), %refusal, "a request is refused");
            self.over.refused = Some(refusal.code());
        }
        if self.conversation.request_id().is_some() {
            self.picker.metrics.requests.over(&self.over);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for last in [Self::report, Self::settle] {
            if let Err(caught) = catch_fault(|| last(self)) {
                self.picker.tell(&caught, self.conversation.request_id());
            }
        }
        self.picker.metrics.streams.dec();
    }
}

#[cfg(test)]
mod tests;
