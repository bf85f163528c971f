//! EndpointSlots: small numbers that identify endpoints within one index.

use std::sync::Arc;

use signalbox_types::EndpointKey;

/// A small number that identifies an endpoint within one index.
pub(crate) type Slot = u32;

/// The number of slots that are stored together. A change copies one chunk and the pointers to all; with 10,000 endpoints
/// both take about as long.
const CHUNK: usize = 256;

/// The endpoint of each slot of an index. The slot of a removed endpoint is reused for another one.
///
/// Readers share it, so that each change makes a new one. The new one shares all chunks but one with the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlots {
    chunks: Vec<Arc<[Option<EndpointKey>; CHUNK]>>,
    len: usize,
}

impl EndpointSlots {
    /// Returns the endpoint of each slot, in order; `None` for a free slot.
    pub fn endpoints(&self) -> impl Iterator<Item = Option<EndpointKey>> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied()).take(self.len)
    }

    /// Returns the number of slots, free ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the endpoint of `slot`; `None` if it is free.
    pub(crate) fn endpoint(&self, slot: Slot) -> Option<EndpointKey> {
        let slot = slot as usize;
        *self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?
    }

    /// Sets the endpoint of `slot`, which exists or is the next one; `None` frees it.
    pub(crate) fn set(&mut self, slot: Slot, endpoint: Option<EndpointKey>) {
        let slot = slot as usize;
        self.len = self.len.max(slot + 1);
        if slot / CHUNK == self.chunks.len() {
            self.chunks.push(Arc::new([None; CHUNK]));
        }
        Arc::make_mut(&mut self.chunks[slot / CHUNK])[slot % CHUNK] = endpoint;
    }
}
