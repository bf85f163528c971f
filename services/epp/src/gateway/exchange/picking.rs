//! How an exchange gets an endpoint for its request: at once, or after the request has waited for a place.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use signalbox_extproc::{Destination, Event, LARGE_BODY_BYTES};
use signalbox_flow::DropReason;
use signalbox_intake::{Delivery, ParsedRequest};
use signalbox_schedule::Waited;
use signalbox_telemetry::ActiveSpan;
use signalbox_types::BookingId;
use tokio::time::sleep_until;

use super::{Exchange, State};
use crate::deciding::admission::{HeldRequest, NotPicked};
use crate::deciding::pick::PickedEndpoint;
use crate::deciding::recorder::RequestContext;
use crate::flow_control::{Place, WaitEnd};
use crate::gateway::long_work::run_long;
use crate::metrics::flow_control::{FlowSummary, evicted, rejected};

/// A request that waits for a place.
pub(super) struct WaitingExchange {
    place: Place,
    held: Box<HeldRequest>,
    since: Instant,
}

impl Exchange {
    /// Picks an endpoint for the request, or lets it wait for a place.
    pub(super) fn pick(&mut self, parsed: ParsedRequest) {
        if let Some(unread) = parsed.unread {
            self.picker.metrics.unread_prompts.count(unread);
        }
        self.summary.target_model.clone_from(&parsed.request.model);
        self.summary
            .requested_model
            .clone_from(parsed.requested_model.as_ref().unwrap_or(&parsed.request.model));
        let has_queue = self.picker.gate.is_waiting_room();
        self.summary.flow = has_queue.then(|| FlowSummary::of(&parsed.request));
        let span = self.span.take();
        self.pick_or_wait(parsed, span, None);
    }

    /// Keeps the booking of a picked endpoint; returns the destination.
    fn keep(&mut self, picked: PickedEndpoint) -> Destination {
        let PickedEndpoint { mut destination, booked, tokens: _ } = picked;
        if self.conversation.may_hide_response() {
            let number = self.picker.detached.register();
            self.booking_number = Some(number);
            destination = destination.with_booking(BookingId { replica: self.picker.replica, number });
        }
        tracing::debug!(
            request_id = self.conversation.request_id(),
            endpoint = destination.as_str(),
            "picked an endpoint"
        );
        // Such a response begins when it is complete: until then, its prompt would keep the endpoint full that has long
        // processed it.
        if booked.delivery == Delivery::Whole {
            let ends_at = booked.booked_at + booked.expected_prefill;
            self.prefill_ends = Some(Box::pin(sleep_until(ends_at.into())));
        }
        self.booked = Some(booked);
        destination
    }

    /// Picks an endpoint, or lets the request wait for a place if it did not wait yet.
    fn pick_or_wait(&mut self, parsed: ParsedRequest, span: Option<ActiveSpan>, waited: Option<Waited>) {
        let context = RequestContext { request_id: self.conversation.request_id(), span, waited };
        let priority = parsed.request.priority;
        match self.picker.pick_or_fall_back(parsed, context) {
            Ok(picked) => {
                self.count_wait_end("Dispatched");
                let tokens = picked.tokens;
                let destination = self.keep(picked);
                self.handle(Event::Picked(Ok(destination)));
                self.make_revocable(priority, tokens);
            }
            Err(NotPicked::Refused(refusal)) => self.handle(Event::Picked(Err(refusal))),
            Err(NotPicked::Waits(held)) => self.wait(held),
        }
    }

    /// Lets a request wait, or refuses it if it cannot.
    fn wait(&mut self, held: Box<HeldRequest>) {
        let bytes = self.conversation.awaited_pick_bytes().unwrap_or(0);
        match self.picker.wait(&held, bytes as u64) {
            Ok(place) => {
                let request_id = self.conversation.request_id();
                tracing::debug!(request_id, flow = ?place.flow, behind = ?place.behind, "a request waits");
                self.waiting = Some(WaitingExchange { place, held, since: Instant::now() });
            }
            Err(reason) => self.drop_waiting(reason, held.parsed.request.priority, rejected(reason)),
        }
    }

    /// Ends the wait of a request.
    fn end_wait(&mut self, end: WaitEnd) {
        let Some(WaitingExchange { place, held, since }) = self.waiting.take() else { return };
        let waited_for = since.elapsed();
        if let Some(flow) = &mut self.summary.flow {
            flow.waited = waited_for;
        }
        let HeldRequest { parsed, span, .. } = *held;
        match end {
            WaitEnd::Granted => {
                let ms = waited_for.as_millis() as u64;
                let (behind_priority, behind_requests) = (place.behind.priority, place.behind.requests);
                self.pick_or_wait(parsed, span, Some(Waited { ms, behind_priority, behind_requests }));
            }
            WaitEnd::Dropped(reason) => self.drop_waiting(reason, parsed.request.priority, evicted(reason)),
        }
        if self.state == State::HalfClosedInQueue {
            self.half_close();
        }
    }

    /// Refuses a request of `priority` that cannot wait, or cannot wait any longer.
    fn drop_waiting(&mut self, reason: DropReason, priority: i32, outcome: &'static str) {
        self.count_wait_end(outcome);
        self.handle(Event::Picked(Err(self.picker.refuse_for(reason, priority))));
    }

    pub(super) fn count_wait_end(&mut self, outcome: &'static str) {
        if let Some(flow) = &mut self.summary.flow {
            flow.outcome = outcome;
        }
    }

    /// Handles the end of the request's wait, if it has ended.
    pub(super) fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.waiting else { return Poll::Pending };
        let end = ready!(waiting.place.poll_end(context));
        // A model that is replaced costs a copy of the body.
        if self.conversation.awaited_pick_bytes().is_some_and(|bytes| bytes > LARGE_BODY_BYTES) {
            run_long(|| self.guarded(|this| this.end_wait(end)));
        } else {
            self.guarded(|this| this.end_wait(end));
        }
        Poll::Ready(())
    }
}
