//! EndpointSlots: small numbers that identify endpoints within one index.

use signalbox_types::EndpointKey;

/// A small number that identifies an endpoint within one index.
pub(crate) type Slot = u32;

/// The endpoint of each slot of an index. The slot of a removed endpoint is reused for another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlots {
    endpoints: Vec<Option<EndpointKey>>,
}

impl EndpointSlots {
    /// Returns the endpoint of each slot, in order; `None` for a free slot.
    pub fn endpoints(&self) -> &[Option<EndpointKey>] {
        &self.endpoints
    }

    /// Assigns a slot to `endpoint`, which must not have one.
    pub(crate) fn allocate(&mut self, endpoint: EndpointKey) -> Slot {
        let vacant = self.endpoints.iter().position(Option::is_none);
        let slot = vacant.unwrap_or(self.endpoints.len());
        if slot == self.endpoints.len() {
            self.endpoints.push(None);
        }
        self.endpoints[slot] = Some(endpoint);
        slot as Slot
    }

    /// Frees `slot` for another endpoint.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.endpoints[slot as usize] = None;
    }
}
