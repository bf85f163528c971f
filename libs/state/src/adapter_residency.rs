//! Which LoRA adapters an endpoint has at hand, by what it tells and by what was sent there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::Adapters;

/// Adapters in host memory that are remembered per endpoint.
const HOST_AT_MOST: usize = 256;

/// The adapters of one endpoint. Engines tell only of adapters that have requests; what else is in their slots follows from
/// what was used last, which is how they choose what to give up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterResidency {
    /// What it tells: slots, and the adapters with running and with waiting requests.
    pub seen: Adapters,
    /// Resident on the device, with requests or without, sorted; at most one for each slot unless it tells of more.
    pub device: Vec<Arc<str>>,
    /// Loaded earlier and given up since, so that they are in host memory, sorted.
    pub host: Vec<Arc<str>>,
}

impl AdapterResidency {
    /// Slots that hold no adapter.
    pub fn free_slots(&self) -> u32 {
        self.seen.slots.saturating_sub(self.device.len() as u32)
    }

    /// Whether requests of as many adapters run as there are slots, so that another one has to wait.
    pub fn is_occupied(&self) -> bool {
        self.seen.running.len() as u32 >= self.seen.slots
    }

    /// Where `adapter` is.
    pub fn place_of(&self, adapter: &str) -> AdapterLocation {
        let on = |residency: &[Arc<str>]| residency.binary_search_by(|name| (**name).cmp(adapter)).is_ok();
        match (on(&self.device), on(&self.host)) {
            (true, _) if on(&self.seen.waiting) && !on(&self.seen.running) => AdapterLocation::Loading,
            (true, _) => AdapterLocation::Device,
            (false, true) => AdapterLocation::Host,
            (false, false) => AdapterLocation::Absent,
        }
    }

    /// All adapters that the endpoint is known to have had.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.device.iter().chain(&self.host).chain(&self.seen.waiting)
    }
}

/// Where an adapter is at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterLocation {
    /// In one of its slots.
    Device,
    /// On the way into one of its slots.
    Loading,
    /// In host memory.
    Host,
    /// Nowhere.
    Absent,
}

/// The adapters of one endpoint in the order of their use: what its owner derives the [`AdapterResidency`] from.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdapterUsage {
    seen: Adapters,
    /// The most recently used first.
    order: Vec<Arc<str>>,
}

impl AdapterUsage {
    /// What an owner before knew; in which order they were used is not known any more, but those on the device were after those that
    /// were given up.
    pub(crate) fn inherited(residency: &AdapterResidency) -> Self {
        let AdapterResidency { seen, device, host } = residency;
        let waiting = seen.waiting.iter().filter(|name| !device.contains(*name) && !host.contains(*name));
        Self { seen: seen.clone(), order: device.iter().chain(waiting).chain(host).cloned().collect() }
    }

    /// The endpoint told of its adapters.
    pub(crate) fn told(&mut self, seen: &Adapters) {
        self.seen = seen.clone();
        let names: Vec<_> = seen.waiting.iter().chain(&seen.running).cloned().collect();
        names.iter().for_each(|name| self.used(name));
    }

    /// A request for `adapter` was sent to the endpoint.
    pub(crate) fn used(&mut self, adapter: &Arc<str>) {
        self.order.retain(|name| name != adapter);
        self.order.insert(0, Arc::clone(adapter));
        self.order.truncate(self.seen.slots as usize + HOST_AT_MOST);
    }

    /// Forgets all: the server was started anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Which adapters are where.
    pub(crate) fn residency(&self) -> AdapterResidency {
        let is_running = |name: &Arc<str>| self.seen.running.contains(name);
        let (running, others): (Vec<_>, Vec<_>) = self.order.iter().cloned().partition(is_running);
        let room = (self.seen.slots as usize).saturating_sub(running.len()).min(others.len());
        let (kept, mut host) = (others[..room].to_vec(), others[room..].to_vec());
        // What waits for its first load was not there before.
        host.retain(|name| !self.seen.waiting.contains(name));
        let mut device = [running, kept].concat();
        device.sort_unstable();
        host.sort_unstable();
        AdapterResidency { seen: self.seen.clone(), device, host }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Arc<str>> {
        text.split_whitespace().map(Arc::from).collect()
    }

    fn told(usage: &mut AdapterUsage, running: &str, waiting: &str) -> AdapterResidency {
        usage.told(&Adapters { slots: 2, running: names(running), waiting: names(waiting) });
        usage.residency()
    }

    #[test]
    fn what_ran_last_stays_in_the_slots() {
        let mut usage = AdapterUsage::default();
        told(&mut usage, "a b", "");
        let residency = told(&mut usage, "c", "");
        assert_eq!(2, residency.device.len());
        assert_eq!(AdapterLocation::Device, residency.place_of("c"));
        assert_eq!((0, 1), (residency.free_slots(), residency.host.len()));
    }

    #[test]
    fn what_was_sent_counts_before_it_is_told() {
        let mut usage = AdapterUsage::default();
        told(&mut usage, "", "");
        usage.used(&Arc::from("a"));
        let residency = usage.residency();
        assert_eq!((AdapterLocation::Device, 1), (residency.place_of("a"), residency.free_slots()));
    }

    #[test]
    fn what_waits_and_does_not_run_is_loading_or_absent() {
        let mut usage = AdapterUsage::default();
        let residency = told(&mut usage, "a", "b c");
        assert_eq!(AdapterLocation::Device, residency.place_of("a"));
        let places = ["b", "c"].map(|name| residency.place_of(name));
        assert!(places.contains(&AdapterLocation::Loading) && places.contains(&AdapterLocation::Absent));
    }

    #[test]
    fn slots_that_all_run_are_occupied() {
        let mut usage = AdapterUsage::default();
        assert!(told(&mut usage, "a b", "").is_occupied());
        assert!(!told(&mut usage, "a", "").is_occupied());
        usage.forget();
        assert_eq!(AdapterResidency::default(), usage.residency());
    }
}
