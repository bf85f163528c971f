//! Records what a pick tells the owner, for the checker.

use std::sync::Arc;

use signalbox_schedule::{BatchedFeedback, FeedbackSink};
use signalbox_state::{PlacedPrompt, ResponseOutcome, ResponseReport};
use signalbox_types::EndpointKey;

/// Feedback that is added to the next batch and recorded.
#[derive(Debug)]
pub(super) struct RecordedFeedback<'a> {
    pub(super) batched: BatchedFeedback<'a>,
    /// All placements; placement number `n` is at index `n - 1`.
    pub(super) placements: &'a mut Vec<PlacedPrompt>,
    /// Whether the request is a probe.
    pub(super) is_probe: bool,
}

impl FeedbackSink for RecordedFeedback<'_> {
    fn queue_placement(&mut self, placed: PlacedPrompt) -> Result<(), PlacedPrompt> {
        let recorded = placed.clone();
        self.batched.queue_placement(placed)?;
        self.placements.push(recorded);
        Ok(())
    }

    fn report_response(&mut self, report: ResponseReport) {
        self.is_probe |= report.outcome == ResponseOutcome::ProbeSent;
        self.batched.report_response(report);
    }

    fn report_adapter_use(&mut self, endpoint: EndpointKey, adapter: &Arc<str>) {
        self.batched.report_adapter_use(endpoint, adapter);
    }
}
