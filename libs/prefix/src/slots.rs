//! Small numbers for endpoints.

use signalbox_types::EndpointKey;

/// A small number that stands for an endpoint in one index.
pub(crate) type Slot = u32;

/// Which endpoint each small number of an index stands for.
///
/// A number whose endpoint is gone is given to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    endpoints: Vec<Option<EndpointKey>>,
}

impl Slots {
    /// The endpoint of each number, in order; `None` where there is none.
    pub fn endpoints(&self) -> &[Option<EndpointKey>] {
        &self.endpoints
    }

    /// Gives `endpoint`, which has none, a number.
    pub(crate) fn take(&mut self, endpoint: EndpointKey) -> Slot {
        let vacant = self.endpoints.iter().position(Option::is_none);
        let slot = vacant.unwrap_or(self.endpoints.len());
        if slot == self.endpoints.len() {
            self.endpoints.push(None);
        }
        self.endpoints[slot] = Some(endpoint);
        slot as Slot
    }

    pub(crate) fn give_back(&mut self, slot: Slot) {
        self.endpoints[slot as usize] = None;
    }
}
