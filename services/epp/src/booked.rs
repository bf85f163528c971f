//! A request that was sent to an endpoint: its booking there, and what is told of how it was answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use signalbox_intake::Delivery;
use signalbox_state::{Booking, ResponseOutcome, ResponseReport};
use signalbox_types::{Ended, EndpointKey};

use crate::picker::{Picker, Remark};

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
    /// How long after that its prompt is expected to be processed.
    pub(crate) prefilled_after: Duration,
    /// How long the request is expected to run.
    pub(crate) expected: Duration,
    /// Whether the owner was told what came of it.
    pub(crate) is_told: bool,
}

impl Booked {
    /// The head of the response came.
    pub(crate) fn responded(&mut self, picker: &Picker, status: Option<u16>) {
        match status {
            Some(status) if FAILURES.contains(&status) => {
                // Its first chunk is an error page: that is no measure of anything.
                self.delivery = Delivery::Whole;
                self.tell(picker, ResponseOutcome::Failed);
            }
            // An answer in one piece comes when it is done; when it began cannot be seen.
            _ if self.delivery == Delivery::Whole => {
                self.tell(picker, ResponseOutcome::FirstOutput { work_tokens: 0, elapsed_us: 0 });
            }
            _ => {}
        }
    }

    /// The first chunk of the answer came: the prompt is processed.
    pub(crate) fn first_chunk(&mut self, picker: &Picker) {
        self.booking.prefilled(picker.now_ms());
        if self.delivery == Delivery::Streamed {
            let elapsed_us = self.at.elapsed().as_micros() as u64;
            let work_tokens = self.alone_tokens.unwrap_or(0);
            self.tell(picker, ResponseOutcome::FirstOutput { work_tokens, elapsed_us });
        }
    }

    /// It is over, as a gateway's access log tells.
    pub(crate) fn ended(mut self, picker: &Picker, ended: &Ended) {
        if let Some(time) = ended.first_byte {
            picker.metrics.first_byte.saw(time);
        }
        if let Some(served) = ended.served {
            self.served(picker, served);
        }
        match ended.status {
            _ if self.is_told => {}
            // The client went away.
            None => {}
            Some(status) if FAILURES.contains(&status) => self.tell(picker, ResponseOutcome::Failed),
            // The response's headers may come before the prompt is processed: that is no measure of it.
            Some(_) => self.tell(picker, ResponseOutcome::FirstOutput { work_tokens: 0, elapsed_us: 0 }),
        }
    }

    /// The endpoint at `address` serves it: the gateway may have sent it elsewhere.
    pub(crate) fn served(&mut self, picker: &Picker, address: SocketAddr) {
        let snapshot = picker.snapshot.load();
        let served = snapshot.view.endpoints.iter().find(|member| member.spec.address == address);
        if let Some(served) = served.filter(|served| served.key != self.endpoint) {
            picker.metrics.served_elsewhere.inc();
            picker.bookings.transfer(&mut self.booking, served.key);
            self.endpoint = served.key;
            // What it takes there says nothing of what was expected here.
            self.alone_tokens = None;
        }
    }

    fn tell(&mut self, picker: &Picker, answered: ResponseOutcome) {
        self.is_told = true;
        picker.remark(Remark::Response(ResponseReport { endpoint: self.endpoint, answered }));
    }
}
