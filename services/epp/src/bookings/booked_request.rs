//! A request that was sent to an endpoint, with its booking there.

use std::time::{Duration, Instant};

use signalbox_intake::Delivery;
use signalbox_state::Booking;
use signalbox_types::EndpointKey;

/// A request that was sent to an endpoint.
#[derive(Debug)]
pub(crate) struct BookedRequest {
    pub(crate) booking: Booking,
    pub(crate) endpoint: EndpointKey,
    /// The request's uncached prompt tokens if the endpoint had no other prefill: the time to the first chunk
    /// then measures the endpoint's prefill rate.
    pub(crate) sole_prefill_tokens: Option<u64>,
    pub(crate) delivery: Delivery,
    pub(crate) booked_at: Instant,
    /// Expected time from `booked_at` to the end of prefill.
    pub(crate) expected_prefill: Duration,
    /// Expected time from `booked_at` to the end of the response.
    pub(crate) expected_duration: Duration,
    /// Whether the response outcome was reported to the pool's owner.
    pub(crate) is_outcome_reported: bool,
}
