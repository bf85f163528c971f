//! Follows booked requests to their end: applies what the gateway reports, tells the pool's owner the
//! outcome, and detaches bookings whose end the gateway hides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use signalbox_intake::Delivery;
use signalbox_state::{ResponseOutcome, ResponseReport};
use signalbox_types::RequestEnd;

use crate::bookings::booked_request::BookedRequest;
use crate::bookings::detached_bookings::EndMatch;
use crate::deciding::picker::{FeedbackEvent, Picker};

/// HTTP statuses that mean the endpoint could not serve the request, regardless of the request.
const FAILURES: [u16; 4] = [500, 502, 503, 504];

impl BookedRequest {
    /// Handles the response headers.
    pub(crate) fn handle_response_headers(&mut self, picker: &Picker, status: Option<u16>) {
        match status {
            Some(status) if FAILURES.contains(&status) => {
                // The first chunk is an error page, so it must not be measured.
                self.delivery = Delivery::Whole;
                self.report_outcome(picker, ResponseOutcome::Failed);
            }
            // A response in one piece arrives when it is complete, so the time to the first output token is
            // unknown.
            _ if self.delivery == Delivery::Whole => {
                self.report_outcome(picker, ResponseOutcome::FirstOutput { work_tokens: 0, elapsed_us: 0 });
            }
            _ => {}
        }
    }

    /// Handles the first chunk of the response body: the prompt is processed.
    pub(crate) fn handle_first_chunk(&mut self, picker: &Picker) {
        self.booking.record_first_output(picker.now_ms());
        if self.delivery == Delivery::Streamed {
            let elapsed_us = self.booked_at.elapsed().as_micros() as u64;
            let work_tokens = self.sole_prefill_tokens.unwrap_or(0);
            self.report_outcome(picker, ResponseOutcome::FirstOutput { work_tokens, elapsed_us });
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
        match end.status {
            _ if self.is_outcome_reported => {}
            // The client disconnected.
            None => {}
            Some(status) if FAILURES.contains(&status) => {
                self.report_outcome(picker, ResponseOutcome::Failed)
            }
            // The response headers may precede the end of prefill, so their time measures nothing.
            Some(_) => {
                self.report_outcome(picker, ResponseOutcome::FirstOutput { work_tokens: 0, elapsed_us: 0 });
            }
        }
    }

    /// Moves the booking to the endpoint at `address`, which serves the request: the gateway may have chosen
    /// another one.
    pub(crate) fn move_to(&mut self, picker: &Picker, address: SocketAddr) {
        let snapshot = picker.snapshot.load();
        let served = snapshot.view.endpoints.iter().find(|member| member.spec.address == address);
        if let Some(served) = served.filter(|served| served.key != self.endpoint) {
            picker.metrics.requests_served_elsewhere.inc();
            picker.bookings.transfer(&mut self.booking, served.key);
            self.endpoint = served.key;
            // The expectation was made for the picked endpoint, so the time at this one is no measurement.
            self.sole_prefill_tokens = None;
        }
    }

    fn report_outcome(&mut self, picker: &Picker, outcome: ResponseOutcome) {
        self.is_outcome_reported = true;
        picker.report(FeedbackEvent::Response(ResponseReport { endpoint: self.endpoint, outcome }));
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
        if let Some((booked, end)) = self.detached.detach(number, booked, start_timer) {
            booked.settle(self, &end);
        }
    }

    /// Applies the reported end of a request that this replica booked.
    pub(crate) fn handle_request_end(&self, end: &RequestEnd) {
        match self.detached.record_end(self.now_ms(), end) {
            EndMatch::Settled => self.metrics.count_access_log_entry("already_settled"),
            EndMatch::Streaming => self.metrics.count_access_log_entry("own"),
            EndMatch::Detached(booked) => {
                self.metrics.count_access_log_entry("own");
                booked.settle(self, end);
            }
        }
    }
}
