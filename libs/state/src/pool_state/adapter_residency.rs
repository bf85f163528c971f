//! Where the LoRA adapters of one endpoint are, derived from what the engine reports and from the requests
//! sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{Adapters, is_valid_list};

/// Where the LoRA adapters of one endpoint are. Engines report only adapters that have requests. What else is
/// in their slots is inferred from the order of use, because engines evict the least recently used adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterResidency {
    /// The adapters that the engine reports: the number of slots, and the adapters with running and with
    /// waiting requests.
    pub reported: Adapters,
    /// Adapters on the device, with requests or without, sorted. At most one per slot, unless the engine
    /// reports more.
    pub device: Vec<Arc<str>>,
    /// Adapters that were evicted from the device and are therefore in host memory, sorted.
    pub host: Vec<Arc<str>>,
}

impl AdapterResidency {
    /// The maximum number of adapters in host memory that are inferred, besides those that fit on the device.
    pub(crate) const MAX_INFERRED_HOST: usize = 256;

    /// The maximum number of names in each list.
    pub const MAX_NAMES: usize = Adapters::MAX_SLOTS as usize + Self::MAX_INFERRED_HOST;

    /// Returns whether all lists are within their limits and sorted.
    pub fn is_valid(&self) -> bool {
        let mut lists = [&self.device, &self.host].into_iter();
        self.reported.is_valid() && lists.all(|list| is_valid_list(list, Self::MAX_NAMES))
    }

    /// Returns the number of slots that hold no adapter.
    pub fn free_slots(&self) -> u32 {
        self.reported.slots.saturating_sub(self.device.len() as u32)
    }

    /// Returns whether requests of as many adapters run as there are slots, so that another adapter has to
    /// wait.
    pub fn is_full(&self) -> bool {
        self.reported.running.len() as u32 >= self.reported.slots
    }

    /// Returns where `adapter` is.
    pub fn location_of(&self, adapter: &str) -> AdapterLocation {
        let on = |residency: &[Arc<str>]| residency.binary_search_by(|name| (**name).cmp(adapter)).is_ok();
        match (on(&self.device), on(&self.host)) {
            (true, _) if on(&self.reported.waiting) && !on(&self.reported.running) => {
                AdapterLocation::Loading
            }
            (true, _) => AdapterLocation::Device,
            (false, true) => AdapterLocation::Host,
            (false, false) => AdapterLocation::Absent,
        }
    }

    /// Returns all adapters that the endpoint is known to have had.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.device.iter().chain(&self.host).chain(&self.reported.waiting)
    }
}

/// Where an adapter is at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterLocation {
    /// In one of the slots on the device.
    Device,
    /// Being loaded into a slot.
    Loading,
    /// In host memory.
    Host,
    /// Not loaded.
    Absent,
}
