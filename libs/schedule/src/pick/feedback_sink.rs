//! Where a pick leaves what the pool's owner must learn.

use std::sync::Arc;

use signalbox_state::{FeedbackBatcher, PlacedPrompt, ResponseReport};
use signalbox_types::EndpointKey;

/// Takes what the pool's owner must learn of a pick. Nothing here waits or fails: without room, reports are dropped.
pub trait FeedbackSink {
    /// Queues a placement, which is already in the overlay.
    ///
    /// # Errors
    /// Returns the placement if there is no room for it.
    fn queue_placement(&mut self, placed: PlacedPrompt) -> Result<(), PlacedPrompt>;

    /// Reports that a request is a probe.
    fn report_response(&mut self, report: ResponseReport);

    /// Reports that a request for a LoRA adapter is sent to an endpoint.
    fn report_adapter_use(&mut self, endpoint: EndpointKey, adapter: &Arc<str>);
}

/// Adds feedback to the next batch at once, for a replica in one thread.
#[derive(Debug)]
pub struct BatchedFeedback<'a> {
    /// Collects the batches.
    pub batcher: &'a mut FeedbackBatcher,
    /// Time, in milliseconds of the replica's clock.
    pub now_ms: u64,
}

impl FeedbackSink for BatchedFeedback<'_> {
    fn queue_placement(&mut self, placed: PlacedPrompt) -> Result<(), PlacedPrompt> {
        if !self.batcher.has_room() {
            return Err(placed);
        }
        self.batcher.add_placement(self.now_ms, placed);
        Ok(())
    }

    fn report_response(&mut self, report: ResponseReport) {
        if self.batcher.has_room_for_events() {
            self.batcher.add_response(report);
        }
    }

    fn report_adapter_use(&mut self, endpoint: EndpointKey, adapter: &Arc<str>) {
        if self.batcher.has_room_for_events() {
            self.batcher.add_adapter_use(endpoint, Arc::clone(adapter));
        }
    }
}
