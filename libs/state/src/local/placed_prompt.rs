//! A prompt that this process sent to an endpoint.

use std::sync::Arc;

use signalbox_prefix::anchor;
use signalbox_types::{BlockHash, EndpointKey, Incarnation};

use crate::reports::Placement;

/// A prompt that this process sent to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPrompt {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// The incarnation of its model server.
    pub incarnation: Incarnation,
    /// The blocks of the whole prompt.
    pub chain: Arc<[BlockHash]>,
    /// The number of blocks that the pool knew, including this process's own earlier placements.
    pub known: usize,
    /// The number of blocks that the endpoint held.
    pub held: usize,
}

impl PlacedPrompt {
    pub(super) fn to_placement(&self, number: u64, known: usize) -> Placement {
        let (anchor, start) = anchor(&self.chain, known);
        let end = self.chain.len().min(start.saturating_add(Placement::MAX_BLOCKS));
        let suffix = self.chain[start..end].into();
        Placement { number, endpoint: self.endpoint, incarnation: self.incarnation, anchor, suffix }
    }
}
