//! Follows booked requests to their end: applies what the gateway reports, tells the pool's owner the
//! outcome, and detaches bookings whose end the gateway hides.

mod reported_usage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use signalbox_extproc::FirstOutput;
use signalbox_intake::Delivery;
use signalbox_intake::response::Usage;
use signalbox_state::{ResponseOutcome, ResponseReport, UsageReport};
use signalbox_types::{BlockHash, RequestEnd};

use crate::bookings::booked_request::BookedRequest;
use crate::bookings::detached_bookings::{Detached, EndMatch};
use crate::bookings::unserved_bookings::Expectation;
use crate::deciding::picker::{FeedbackEvent, Picker};

impl BookedRequest {
    /// Handles the response headers.
    pub(crate) fn handle_response_headers(&mut self, picker: &Picker, status: Option<u16>) {
        (self.response.has_begun, self.response.status) = (true, status);
        self.handle_status(picker, status);
    }

    /// Handles the first output of the response: the prompt is processed.
    pub(crate) fn handle_first_output(&mut self, picker: &Picker, output: FirstOutput) {
        self.booking.record_first_output(picker.now_ms());
        if !self.response.is_success() {
            return;
        }
        // Output that was not streamed arrives some time after the end of prefill.
        let is_timed = (output, self.delivery) == (FirstOutput::Streamed, Delivery::Streamed);
        if self.is_sole_prefill && is_timed {
            self.usage.sole_prefill_us = Some(self.booked_at.elapsed().as_micros() as u64);
        }
        let outcome = self.response.tracker.record_output();
        self.report_outcome(picker, outcome);
    }

    /// Handles an error that the body of a successful response reports, with the status that it tells.
    pub(crate) fn handle_error(&mut self, picker: &Picker, status: Option<u16>) {
        // With an unknown status, output does not count as a success either.
        if !self.response.is_success() {
            return;
        }
        let outcome = self.response.tracker.record_error(status);
        self.report_outcome(picker, outcome);
    }

    /// Handles the usage that the response reports.
    pub(crate) fn handle_usage(&mut self, picker: &Picker, usage: &Usage) {
        (self.usage.prompt_tokens, self.usage.cached_tokens) = (usage.prompt_tokens, usage.cached_tokens);
        self.usage.output_tokens = usage.completion_tokens;
        self.prompt.compare(picker, &mut self.usage);
    }

    /// Returns whether nothing of the response can follow, as far as what was seen of it tells: an error is short,
    /// and a response in one piece begins when it is complete.
    pub(crate) fn is_over(&self) -> bool {
        let is_complete = self.response.has_begun && self.delivery == Delivery::Whole;
        self.response.is_reported || self.response.tracker.is_unserved() || is_complete
    }

    /// Reports the status of a response whose body the gateway hides. Without this, successes would be invisible while
    /// refusals count, and a circuit would never close.
    pub(crate) fn report_hidden_success(&mut self, picker: &Picker) {
        if self.response.is_success() {
            let outcome = self.response.tracker.record_output();
            self.report_outcome(picker, outcome);
        }
    }

    /// Ends the booking with the response.
    pub(crate) fn end(mut self, picker: &Picker) {
        // Usage shows that the endpoint did its work, even if the output was empty.
        if self.response.is_success()
            && self.delivery == Delivery::Streamed
            && self.usage.prompt_tokens.is_none()
        {
            let outcome = self.response.tracker.record_end_of_stream();
            self.report_outcome(picker, outcome);
        }
        if self.usage.sole_prefill_us.is_some() || self.usage.prompt_tokens.is_some() {
            picker.report(FeedbackEvent::Usage(self.usage));
        }
        self.release(picker);
    }

    /// Ends the booking with a response whose body was not shown: its status is all that is known.
    pub(crate) fn end_hidden(mut self, picker: &Picker) {
        self.report_hidden_success(picker);
        self.release(picker);
    }

    /// Ends the booking without an end of the response.
    pub(crate) fn abort(self, picker: &Picker) {
        if self.response.tracker.is_unserved() {
            self.release(picker);
        }
    }

    /// Releases the booking. If the request was answered with an error, its place is kept in decisions.
    fn release(self, picker: &Picker) {
        if self.response.tracker.is_unserved() {
            let expected = Expectation {
                booked_at: self.booked_at,
                prefill: self.expected_prefill,
                duration: self.expected_duration,
            };
            picker.unserved.keep(self.booking, expected);
        } else {
            picker.unserved.durations.record(self.booked_at.elapsed().as_micros() as u64);
        }
    }

    /// Settles the booking with the request end that a gateway's access log reports.
    pub(crate) fn settle(mut self, picker: &Picker, end: &RequestEnd) {
        if let Some(time) = end.first_byte {
            picker.metrics.access_log_first_byte.observe(time);
        }
        if let Some(served) = end.served {
            self.move_to(picker, served);
        }
        self.handle_status(picker, end.status);
        // The response headers may precede the end of prefill, so their time measures nothing. Without a
        // status, the client disconnected.
        self.response.status = end.status;
        self.end_hidden(picker);
    }

    fn handle_status(&mut self, picker: &Picker, status: Option<u16>) {
        let outcome = status.and_then(|status| self.response.tracker.record_status(status));
        self.report_outcome(picker, outcome);
    }

    /// Moves the booking to the endpoint at `address`, which serves the request: the gateway may have chosen
    /// another one.
    pub(crate) fn move_to(&mut self, picker: &Picker, address: SocketAddr) {
        let snapshot = picker.snapshot.load();
        let view = &snapshot.view;
        // Usually the picked endpoint serves the request.
        let picked = view.endpoints.get(self.endpoint);
        if picked.is_some_and(|picked| picked.spec.address == address) {
            return;
        }
        if let Some(served) = snapshot.position_at(address).map(|position| &view.endpoints[position]) {
            picker.metrics.requests_served_elsewhere.inc();
            picker.bookings.transfer(&mut self.booking, served.key);
            self.endpoint = served.key;
            // The expectation was made for the picked endpoint, so the time at this one is no measurement, and its
            // cache is unknown.
            self.is_sole_prefill = false;
            self.usage = UsageReport {
                endpoint: served.key,
                incarnation: served.observed.incarnation,
                predicted_cached_tokens: 0,
                last_block: BlockHash::ROOT,
                held_blocks: 0,
                ..self.usage
            };
        }
    }

    /// Reports the outcome, if any, to the pool's owner. The first one counts.
    fn report_outcome(&mut self, picker: &Picker, outcome: Option<ResponseOutcome>) {
        let Some(outcome) = outcome else { return };
        if std::mem::replace(&mut self.response.is_reported, true) {
            return;
        }
        let (endpoint, model) = (self.endpoint, self.usage.model);
        picker.report(FeedbackEvent::Response(ResponseReport { endpoint, model, outcome }));
    }
}

impl Picker {
    /// Keeps the booking of a stream that may have hidden the end of its response, until that end is reported
    /// or the booking expires.
    pub(crate) fn detach(self: &Arc<Self>, number: u64, booked: BookedRequest) {
        let (prefilled_at, expiry) =
            (booked.booked_at + booked.expected_prefill, self.detached.expiry(&booked));
        if expiry <= Instant::now() {
            self.detached.remove(number);
            return;
        }
        self.metrics.detached_bookings.inc();
        let start_timer = || {
            let picker = Arc::clone(self);
            let task = async move {
                tokio::time::sleep_until(prefilled_at.into()).await;
                picker.detached.prefilled(number, picker.now_ms());
                tokio::time::sleep_until(expiry.into()).await;
                picker.metrics.detached_bookings_expired.inc();
                picker.detached.expire(number, picker.now_ms());
            };
            tokio::spawn(task).abort_handle()
        };
        match self.detached.detach(number, booked, start_timer) {
            Detached::Kept => {}
            Detached::InsteadOf(oldest) => {
                self.metrics.detached_bookings_dropped.inc();
                drop(oldest);
            }
            Detached::EndedBefore(booked, end) => booked.settle(self, &end),
        }
    }

    /// Applies the reported end of a request that this replica booked.
    pub(crate) fn handle_request_end(&self, end: &RequestEnd) {
        match self.detached.record_end(self.now_ms(), end) {
            EndMatch::Settled => self.metrics.access_log_entries.count("already_settled"),
            EndMatch::Streaming => self.metrics.access_log_entries.count("own"),
            EndMatch::Detached(booked) => {
                self.metrics.access_log_entries.count("own");
                booked.settle(self, end);
            }
        }
    }
}

#[cfg(test)]
mod tests;
