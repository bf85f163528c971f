//! What a replica has to tell the pool's owner, made into batches.

use std::sync::Arc;

use signalbox_types::{EndpointKey, Load, Origin};

use crate::feedback::{Feedback, GaugeScope, Placement, ResponseReport};
use crate::outbox::{Outbox, PlacedPrompt};
use crate::overlay::Overlay;

/// Placements in one batch.
const PLACEMENTS_PER_BATCH: usize = 512;

/// Answers and adapters in one batch.
const REMARKS_PER_BATCH: usize = 512;

/// A placement that the pool has not echoed for so long is given up: longer than a failover takes.
const PLACEMENT_DEADLINE_MS: u64 = 10_000;

/// What a replica has to tell. Gauges are not kept here: they are read when a batch is made.
#[derive(Debug, Default)]
pub struct FeedbackBatcher {
    outbox: Outbox,
    adapters: Vec<(EndpointKey, Arc<str>)>,
    responses: Vec<ResponseReport>,
    /// Chains that the owner asked for.
    chains: Vec<Placement>,
    seq: u64,
}

impl FeedbackBatcher {
    /// Whether there is room for another placement: with the owner out of reach they would gather without end.
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// Whether there is room for another answer or adapter in the next batch.
    pub fn has_room_for_remarks(&self) -> bool {
        self.responses.len() + self.adapters.len() < REMARKS_PER_BATCH
    }

    /// A prompt was sent to an endpoint, and laid over the view.
    pub fn placed(&mut self, now_ms: u64, placed: PlacedPrompt) {
        self.outbox.put(now_ms, placed);
    }

    /// An endpoint answered a request.
    pub fn answered(&mut self, answer: ResponseReport) {
        self.responses.push(answer);
    }

    /// A request for a LoRA adapter was sent to an endpoint.
    pub fn sent_for(&mut self, endpoint: EndpointKey, adapter: Arc<str>) {
        self.adapters.push((endpoint, adapter));
    }

    /// The stream is a new one, or the origin is: all that the pool has not echoed is sent again.
    pub fn send_again(&mut self) {
        self.chains.clear();
        self.outbox.send_again();
    }

    /// The owner does not know a placement's anchor: its whole chain goes with the next batch, if it is still kept.
    pub fn need_chain(&mut self, number: u64) {
        self.chains.extend(self.outbox.whole_chain(number));
    }

    /// The pool's state has all placements up to `number`.
    pub fn acknowledged(&mut self, number: u64, overlay: &Overlay) {
        self.outbox.acknowledged(number, overlay);
    }

    /// Gives up what the pool has not echoed for too long; says how much.
    pub fn expire(&mut self, now_ms: u64, overlay: &Overlay) -> usize {
        self.outbox.expire(now_ms, PLACEMENT_DEADLINE_MS, overlay)
    }

    /// Whether more is to be sent than the last batch had room for.
    pub fn has_more(&self) -> bool {
        self.outbox.has_unsent()
    }

    /// The next batch of `origin`, which knows of `epoch`, with these gauges; `None` when it would say nothing.
    pub fn batch(
        &mut self,
        epoch: u64,
        origin: Origin,
        scope: GaugeScope,
        gauges: Vec<(EndpointKey, Load)>,
    ) -> Option<Feedback> {
        let mut placements = std::mem::take(&mut self.chains);
        placements.extend(self.outbox.take_unsent(PLACEMENTS_PER_BATCH));
        let has_remarks = !self.responses.is_empty() || !self.adapters.is_empty();
        if scope == GaugeScope::Changed && gauges.is_empty() && placements.is_empty() && !has_remarks {
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
        })
    }
}
