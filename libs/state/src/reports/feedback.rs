//! What a replica reports to the pool's owner about its own decisions.

use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey, Incarnation, Load, Origin};

/// Which gauges a batch contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeScope {
    /// All gauges of the replica: absent ones are zero. The first batch of a stream contains all.
    All,
    /// The gauges that changed.
    Changed,
}

/// A batch of feedback. Gauges are state: the next batch repairs loss, repetition and reordering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The highest epoch that the replica knows.
    pub epoch: u64,
    /// The origin that sends the batch.
    pub origin: Origin,
    /// The number of the batch; it increases with every batch of an origin.
    pub seq: u64,
    /// Which gauges the batch contains.
    pub scope: GaugeScope,
    /// The load per endpoint.
    pub gauges: Vec<(EndpointKey, Load)>,
    /// The prompts sent to endpoints.
    pub placements: Vec<Placement>,
    /// The LoRA adapters for which requests were sent to endpoints.
    pub adapters: Vec<(EndpointKey, Arc<str>)>,
    /// The outcomes of responses. They are sent once; lost ones are not repeated.
    pub responses: Vec<ResponseReport>,
}

/// The outcome of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseReport {
    /// The endpoint that the request was sent to.
    pub endpoint: EndpointKey,
    /// The outcome.
    pub outcome: ResponseOutcome,
}

/// How an endpoint responded to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOutcome {
    /// The endpoint did not respond, or responded with an error that the request did not cause.
    Failed,
    /// The first chunk of the response arrived.
    FirstOutput {
        /// The uncached prompt tokens that the endpoint processed for this request; 0 if unknown, because the
        /// endpoint processed other prompts at the same time.
        work_tokens: u64,
        /// The time from the decision to the first chunk, in microseconds.
        elapsed_us: u64,
    },
}

/// A prompt that was sent to an endpoint, without the part that the pool already knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The number of the placement; it increases with every placement of an origin.
    pub number: u64,
    /// The endpoint that was sent the prompt.
    pub endpoint: EndpointKey,
    /// The incarnation of the model server that was sent the prompt.
    pub incarnation: Incarnation,
    /// The last block that the pool knew and that can be an anchor ([`signalbox_prefix::anchor()`]), or
    /// [`BlockHash::ROOT`] if there is none. The endpoint also holds the blocks before it.
    pub anchor: BlockHash,
    /// The blocks after the anchor. It contains no new block when the pool knew the whole prompt, whose
    /// blocks then only count as used.
    pub suffix: Arc<[BlockHash]>,
}
