//! A request that was sent to an endpoint: its booking there, and what is told of how it was answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signalbox_intake::Delivery;
use signalbox_state::{Answer, Answered, Booking};
use signalbox_types::EndpointKey;

use crate::desk::{Desk, Remark};

/// These say that the endpoint could not serve the request, whatever the request was.
const FAILURES: [u16; 4] = [500, 502, 503, 504];

/// A request that was sent to an endpoint.
#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) booking: Booking,
    pub(crate) endpoint: EndpointKey,
    /// Its uncached prompt tokens, where the endpoint had nothing else to process: then the time to the first chunk measures its rate.
    pub(crate) alone_tokens: Option<u64>,
    pub(crate) delivery: Delivery,
    pub(crate) at: Instant,
    /// How long the request is expected to run.
    pub(crate) expected: Duration,
}

impl Booked {
    /// The head of the response came.
    pub(crate) fn responded(&mut self, desk: &Desk, status: Option<u16>) {
        match status {
            Some(status) if FAILURES.contains(&status) => {
                // Its first chunk is an error page: that is no measure of anything.
                self.delivery = Delivery::Whole;
                self.tell(desk, Answered::Failed);
            }
            // An answer in one piece comes when it is done; when it began cannot be seen.
            _ if self.delivery == Delivery::Whole => {
                self.tell(desk, Answered::Began { work_tokens: 0, took_us: 0 });
            }
            _ => {}
        }
    }

    /// The first chunk of the answer came: the prompt is processed.
    pub(crate) fn first_chunk(&mut self, desk: &Desk) {
        self.booking.prefilled(desk.now_ms());
        if self.delivery == Delivery::Streamed {
            let took_us = self.at.elapsed().as_micros() as u64;
            let work_tokens = self.alone_tokens.unwrap_or(0);
            self.tell(desk, Answered::Began { work_tokens, took_us });
        }
    }

    /// The stream is over, but the gateway's mode hides whether the response is: the booking is held until it is expected to be.
    pub(crate) fn hold(self, desk: &Arc<Desk>) {
        let until = self.at + self.expected;
        if until > Instant::now() {
            desk.metrics.bookings_held.inc();
            tokio::spawn(async move {
                tokio::time::sleep_until(until.into()).await;
                drop(self.booking);
            });
        }
    }

    fn tell(&self, desk: &Desk, answered: Answered) {
        desk.remark(Remark::Answer(Answer { endpoint: self.endpoint, answered }));
    }
}
