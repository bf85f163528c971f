//! The writer side of the index: which blocks each endpoint holds, in which order it used them, and digests
//! over both.

mod confirmations;
mod digest;
mod endpoint_blocks;
mod error;
mod eviction_order;
mod last_uses;
mod placements;
mod read_ahead;
mod run_store;
mod snapshot;
mod stored_run;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signalbox_types::EndpointKey;

pub use self::confirmations::ChainRange;
use self::endpoint_blocks::EndpointBlocks;
pub use self::error::IndexError;
use self::eviction_order::EvictionOrder;
pub use self::last_uses::LastUse;
use self::run_store::RunStore;
use crate::endpoint_slots::{EndpointSlots, Slot};
use crate::identity_hasher::EndpointMap;
use crate::reader::Index;

/// The single writer of an [`Index`].
#[derive(Debug, Default)]
pub struct IndexWriter {
    store: RunStore,
    endpoints: EndpointMap<EndpointBlocks>,
    eviction_order: EvictionOrder,
    /// Sum of the digests of all endpoints.
    total_digest: u64,
    /// The slots without an endpoint.
    free_slots: BTreeSet<Slot>,
    /// Buffer for the runs of the current placement's prompt.
    path: Vec<(u32, u32)>,
}

impl IndexWriter {
    /// Returns the index that readers use.
    pub fn index(&self) -> &Arc<Index> {
        self.store.index()
    }

    /// Returns how many blocks `endpoint` was sent and still holds.
    pub fn placed_blocks(&self, endpoint: EndpointKey) -> usize {
        self.endpoints.get(&endpoint).map_or(0, |blocks| blocks.placed)
    }

    /// Returns the wrapping sum over the blocks that `endpoint` holds and the times of their use. It depends
    /// only on these, not on the history of changes.
    pub fn digest(&self, endpoint: EndpointKey) -> u64 {
        self.endpoints.get(&endpoint).map_or(0, |blocks| blocks.digest)
    }

    /// Returns the wrapping sum of [`Self::digest`] over all endpoints.
    pub fn total_digest(&self) -> u64 {
        self.total_digest
    }

    /// Returns the approximate memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.store.memory_bytes()
    }

    /// Returns the slot of `endpoint`, which is assigned if the endpoint has none.
    fn ensure_slot(&mut self, endpoint: EndpointKey) -> Slot {
        if let Some(blocks) = self.endpoints.get(&endpoint) {
            return blocks.slot;
        }
        let mut slots = EndpointSlots::clone(&self.index().slots());
        let slot = self.free_slots.pop_first().unwrap_or(slots.len() as Slot);
        slots.set(slot, Some(endpoint));
        self.index().set_slots(slots);
        self.endpoints.insert(endpoint, EndpointBlocks::new(slot));
        slot
    }

    /// Releases the slot of `endpoint` if the endpoint holds no block.
    fn release_if_empty(&mut self, endpoint: EndpointKey) {
        if !self.endpoints.get(&endpoint).is_some_and(EndpointBlocks::is_empty) {
            return;
        }
        if let Some(blocks) = self.endpoints.remove(&endpoint) {
            let mut slots = EndpointSlots::clone(&self.index().slots());
            slots.set(blocks.slot, None);
            self.free_slots.insert(blocks.slot);
            self.index().set_slots(slots);
            self.index().removals.fetch_add(1, Ordering::AcqRel);
        }
    }
}
