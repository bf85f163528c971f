//! A request that was sent to an endpoint, with its booking there.

use std::time::{Duration, Instant};

use signalbox_intake::Delivery;
use signalbox_state::{Booking, ResponseTracker, UsageReport};
use signalbox_types::EndpointKey;

use super::booked_prompt::BookedPrompt;

/// What was seen of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeenResponse {
    pub(crate) has_begun: bool,
    /// HTTP status; `None` until the headers have arrived, and if they do not tell it.
    pub(crate) status: Option<u16>,
    /// Whether the outcome was reported to the pool's owner.
    pub(crate) is_reported: bool,
    pub(crate) tracker: ResponseTracker,
}

impl SeenResponse {
    /// Returns whether the status is known and means success.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// A request that was sent to an endpoint.
#[derive(Debug)]
pub(crate) struct BookedRequest {
    pub(crate) booking: Booking,
    pub(crate) endpoint: EndpointKey,
    /// Whether the endpoint had no other prefill: the time to the first output then measures its prefill rate.
    pub(crate) is_sole_prefill: bool,
    /// What is reported of the prompt when the response has ended.
    pub(crate) usage: UsageReport,
    /// What is compared with the reported usage.
    pub(crate) prompt: BookedPrompt,
    pub(crate) delivery: Delivery,
    pub(crate) booked_at: Instant,
    /// Expected time from `booked_at` to the end of prefill.
    pub(crate) expected_prefill: Duration,
    /// Expected time from `booked_at` to the end of the response.
    pub(crate) expected_duration: Duration,
    /// What was seen of the response.
    pub(crate) response: SeenResponse,
}
