//! Collects a replica's feedback into batches.

use std::collections::VecDeque;
use std::sync::Arc;

use signalbox_signal::ArrivalCounts;
use signalbox_types::{EndpointKey, Load, Origin};

use super::outbox::Outbox;
use super::overlay::Overlay;
use super::placed_prompt::PlacedPrompt;
use crate::reports::{Feedback, FlowReport, GaugeScope, Placement, ResponseReport, UsageReport};

/// The maximum number of new placements in one batch, and of those whose whole chains the owner requested.
const MAX_PLACEMENTS_PER_BATCH: usize = Feedback::MAX_PLACEMENTS / 2;

/// The maximum number of responses, usage reports and adapter uses in one batch.
const MAX_EVENTS_PER_BATCH: usize = 512;

/// How long a placement waits to be acknowledged before it is dropped, in milliseconds: longer than a
/// takeover takes.
const PLACEMENT_TIMEOUT_MS: u64 = 10_000;

/// A replica's feedback that was not sent yet. It does not contain the gauges and backlogs, which are read
/// when a batch is made.
#[derive(Debug, Default)]
pub struct FeedbackBatcher {
    outbox: Outbox,
    adapters: Vec<(EndpointKey, Arc<str>)>,
    responses: Vec<ResponseReport>,
    usage: Vec<UsageReport>,
    /// The placements whose whole chains the owner requested.
    requested_chains: VecDeque<u64>,
    seq: u64,
}

impl FeedbackBatcher {
    /// Returns whether there is room for another placement. Placements would accumulate without bound while
    /// the owner is unreachable.
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// Returns whether there is room for another response, usage report or adapter use in the next batch.
    pub fn has_room_for_events(&self) -> bool {
        self.responses.len() + self.usage.len() + self.adapters.len() < MAX_EVENTS_PER_BATCH
    }

    /// Adds a placement, which the caller has already added to the overlay.
    pub fn add_placement(&mut self, now_ms: u64, placed: PlacedPrompt) {
        self.outbox.push(now_ms, placed);
    }

    /// Adds the outcome of a request.
    pub fn add_response(&mut self, response: ResponseReport) {
        self.responses.push(response);
    }

    /// Adds the usage of a response.
    pub fn add_usage(&mut self, usage: UsageReport) {
        self.usage.push(usage);
    }

    /// Records that a request for a LoRA adapter was sent to an endpoint.
    pub fn add_adapter_use(&mut self, endpoint: EndpointKey, adapter: Arc<str>) {
        self.adapters.push((endpoint, adapter));
    }

    /// Marks all unacknowledged placements as unsent, because the stream or the origin is new.
    pub fn resend_all(&mut self) {
        self.requested_chains.clear();
        self.outbox.resend_all();
    }

    /// Queues the whole chain of a placement for the next batches, because the owner does not know its anchor.
    pub fn queue_whole_chain(&mut self, number: u64) {
        self.requested_chains.push_back(number);
    }

    /// Returns the next whole chains that the owner requested, as many as fit into one message. Placements that
    /// were dropped have none.
    fn take_requested_chains(&mut self) -> Vec<Placement> {
        let (mut chains, mut blocks) = (Vec::new(), 0);
        while chains.len() < MAX_PLACEMENTS_PER_BATCH
            && let Some(number) = self.requested_chains.front()
        {
            let chain = self.outbox.whole_chain(*number);
            blocks += chain.as_ref().map_or(0, |chain| chain.suffix.len());
            if blocks > Placement::MAX_BLOCKS {
                break;
            }
            self.requested_chains.pop_front();
            chains.extend(chain);
        }
        chains
    }

    /// Removes the placements up to `number`, which the pool state now contains.
    pub fn acknowledge(&mut self, number: u64, overlay: &Overlay) {
        self.outbox.acknowledge(number, overlay);
    }

    /// Drops the placements that were not acknowledged in time and returns their number.
    pub fn expire(&mut self, now_ms: u64, overlay: &Overlay) -> usize {
        self.outbox.expire(now_ms, PLACEMENT_TIMEOUT_MS, overlay)
    }

    /// Returns whether the last batch had no room for all placements.
    pub fn has_unsent(&self) -> bool {
        self.outbox.has_unsent() || !self.requested_chains.is_empty()
    }

    /// Returns the next batch of `origin` with these gauges, backlogs and counts of arrivals; `None` if it would be empty: counts
    /// alone can wait for the next batch with all gauges. `epoch` is the highest known one.
    pub fn next_batch(
        &mut self,
        epoch: u64,
        origin: Origin,
        scope: GaugeScope,
        gauges: Vec<(EndpointKey, Load)>,
        flows: FlowReport,
        arrivals: ArrivalCounts,
    ) -> Option<Feedback> {
        let mut placements = self.take_requested_chains();
        placements.extend(self.outbox.take_unsent(MAX_PLACEMENTS_PER_BATCH));
        let has_events = !self.responses.is_empty() || !self.usage.is_empty() || !self.adapters.is_empty();
        let has_gauges = !gauges.is_empty() || !flows.is_empty();
        if scope == GaugeScope::Changed && !has_gauges && placements.is_empty() && !has_events {
            return None;
        }
        self.seq += 1;
        Some(Feedback {
            epoch,
            origin,
            seq: self.seq,
            scope,
            gauges,
            placements,
            adapters: std::mem::take(&mut self.adapters),
            responses: std::mem::take(&mut self.responses),
            usage: std::mem::take(&mut self.usage),
            flows,
            arrivals: Some(arrivals),
        })
    }
}
