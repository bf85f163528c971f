//! A replica's side towards the owner: its bookings, and what it has not fed back yet.

use std::sync::Arc;

use signalbox_state::{
    Arrivals, Booking, Bookings, Feedback, FeedbackBatcher, FlowReport, GaugeScope, Overlay, PlacedPrompt,
    ResponseOutcome, ResponseReport, UsageReport,
};
use signalbox_types::{EndpointKey, Incarnation, ModelKey, Origin};

use super::prompts::Turn;
use super::shape::BLOCK_TOKENS;

/// Intervals at which a replica sends what changed, and all gauges, in milliseconds.
const FLUSH_MS: u64 = 2;
const FULL_FLUSH_MS: u64 = 500;

/// Time until the first output of a prompt that the endpoint processes alone, in microseconds.
const SOLE_PREFILL_US: u64 = 100_000;

/// The bytes of a block's text.
const BLOCK_BYTES: u64 = 256;

/// A replica's bookings and feedback.
pub(super) struct SendingReplica {
    pub(super) origin: Origin,
    pub(super) bookings: Bookings,
    overlay: Overlay,
    batcher: FeedbackBatcher,
    number: u64,
}

/// A request that a replica has booked.
pub(super) struct BookedRequest {
    booking: Booking,
    usage: UsageReport,
}

impl SendingReplica {
    pub(super) fn new(number: u64, endpoints: &[EndpointKey]) -> Self {
        let bookings = Bookings::new(Arc::new(|| {}));
        // As its view does.
        endpoints.iter().for_each(|endpoint| drop(bookings.gauge(*endpoint)));
        let (overlay, batcher) = (Overlay::default(), FeedbackBatcher::default());
        Self { origin: Origin(number + 1), bookings, overlay, batcher, number }
    }

    /// Sends a request to an endpoint in this incarnation. `is_sole` says whether it is the only prompt there.
    pub(super) fn send(
        &mut self,
        now_ms: u64,
        (endpoint, incarnation): (EndpointKey, Incarnation),
        turn: Turn,
        is_sole: bool,
    ) -> BookedRequest {
        let Turn { position: _, chain, known, held } = turn;
        let [tokens, cached_tokens] = [chain.len(), held].map(|blocks| blocks as u64 * BLOCK_TOKENS);
        let booking = self.bookings.reserve(endpoint, tokens - cached_tokens);
        let usage = UsageReport {
            text_bytes: chain.len() as u64 * BLOCK_BYTES,
            predicted_tokens: tokens,
            predicted_cached_tokens: cached_tokens,
            prompt_tokens: Some(tokens),
            cached_tokens: Some(cached_tokens),
            last_block: chain.last().copied().unwrap_or_default(),
            held_blocks: held as u32,
            cached_blocks: Some(held as u32),
            sole_prefill_us: is_sole.then_some(SOLE_PREFILL_US),
            ..UsageReport::new(endpoint, incarnation, ModelKey::default())
        };
        let placed = PlacedPrompt { endpoint, incarnation, chain, known, held };
        self.overlay.place(&placed);
        self.batcher.add_placement(now_ms, placed);
        BookedRequest { booking, usage }
    }

    /// Records the first output of a request.
    pub(super) fn record_first_output(&mut self, now_ms: u64, request: &mut BookedRequest) {
        request.booking.record_first_output(now_ms);
        let UsageReport { endpoint, model, .. } = request.usage;
        self.batcher.add_response(ResponseReport { endpoint, model, outcome: ResponseOutcome::FirstOutput });
    }

    /// Records the end of a request.
    pub(super) fn record_end(&mut self, request: BookedRequest) {
        let BookedRequest { booking, usage } = request;
        drop(booking);
        self.batcher.add_usage(usage);
    }

    /// Returns the feedback that is due, if there is any. `acknowledged` is the number of the last placement that the
    /// pool contains.
    pub(super) fn feedback(&mut self, now_ms: u64, acknowledged: u64) -> Option<Feedback> {
        // Replicas do not send at the same time.
        let shifted_ms = now_ms + self.number;
        let scope = match (shifted_ms.is_multiple_of(FULL_FLUSH_MS), shifted_ms.is_multiple_of(FLUSH_MS)) {
            (true, _) => GaugeScope::All,
            (false, true) => GaugeScope::Changed,
            (false, false) => return None,
        };
        self.batcher.acknowledge(acknowledged, &self.overlay);
        let changed = self.bookings.take_changed();
        let gauges = if scope == GaugeScope::All { self.bookings.loads() } else { changed };
        let arrivals = Arrivals::default().counts();
        self.batcher.next_batch(1, self.origin, scope, gauges, FlowReport::default(), arrivals)
    }

    /// Lets the replica send the whole chain of a placement.
    pub(super) fn queue_whole_chain(&mut self, placement: u64) {
        self.batcher.queue_whole_chain(placement);
    }
}
