//! What a replica tells the pool's owner of its own decisions.

use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey, Incarnation, Load, Origin};

/// Which gauges a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeScope {
    /// All of the replica's: what is absent is zero. The first batch of a stream is whole.
    Whole,
    /// Those that changed.
    Changed,
}

/// A batch of feedback. Gauges are state: loss, repetition and reordering of batches heal with the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The highest epoch that the replica knows.
    pub epoch: u64,
    /// Whose it is.
    pub origin: Origin,
    /// Grows with every batch of an origin.
    pub seq: u64,
    /// Which gauges it holds.
    pub scope: GaugeScope,
    /// Work in flight per endpoint.
    pub gauges: Vec<(EndpointKey, Load)>,
    /// Prompts sent to endpoints.
    pub placements: Vec<Placement>,
    /// LoRA adapters for which requests were sent to endpoints.
    pub adapters: Vec<(EndpointKey, Arc<str>)>,
    /// What came of requests. Told once: what is lost is not missed.
    pub responses: Vec<ResponseReport>,
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseReport {
    /// Where it was sent.
    pub endpoint: EndpointKey,
    /// What came of it.
    pub answered: ResponseOutcome,
}

/// How an endpoint answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOutcome {
    /// Not, or with an error that is not the request's fault.
    Failed,
    /// With a first chunk of the answer.
    FirstOutput {
        /// Uncached prompt tokens that the endpoint had to process for it; 0 where that is not known, because it had others to
        /// process at the same time.
        work_tokens: u64,
        /// Time from the decision to the first chunk, in microseconds.
        elapsed_us: u64,
    },
}

/// A prompt that was sent to an endpoint, without the part that the pool knows already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Grows with every placement of an origin.
    pub number: u64,
    /// Where it was sent.
    pub endpoint: EndpointKey,
    /// The life of the model server it was sent to.
    pub incarnation: Incarnation,
    /// The last block that the pool knew and that can be an anchor ([`signalbox_prefix::anchor()`]); the endpoint holds what comes
    /// before it too. [`BlockHash::ROOT`] for none.
    pub anchor: BlockHash,
    /// The blocks after it; none that is new when the pool knew the whole prompt, which then only counts as used.
    pub suffix: Arc<[BlockHash]>,
}
