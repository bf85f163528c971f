//! What a replica tells the pool's owner of its own decisions.

use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey, Incarnation, Load, Origin};

/// Which gauges a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
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
    pub scope: Scope,
    /// Work in flight per endpoint.
    pub gauges: Vec<(EndpointKey, Load)>,
    /// Prompts sent to endpoints.
    pub placements: Vec<Placement>,
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
    /// The last block that the pool knew; the endpoint holds what comes before it too. [`BlockHash::ROOT`] for none.
    pub anchor: BlockHash,
    /// The blocks after it; none when the pool knew the whole prompt, which then only counts as used.
    pub suffix: Arc<[BlockHash]>,
}
