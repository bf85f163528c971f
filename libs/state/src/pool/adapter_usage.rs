//! The LoRA adapters of one endpoint, ordered by their last use.

use std::collections::BTreeSet;
use std::sync::Arc;

use signalbox_types::{Adapters, LoadedAdapters};

use crate::pool_state::AdapterResidency;

/// The LoRA adapters of one endpoint, ordered by their last use. The owner derives the [`AdapterResidency`]
/// from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdapterUsage {
    reported: Adapters,
    /// The adapters, most recently used first.
    recently_used: Vec<Arc<str>>,
}

impl AdapterUsage {
    /// Restores the usage from the state that an earlier owner left. Its order of use is lost, except that
    /// adapters on the device were used after evicted ones.
    pub(crate) fn from_residency(residency: &AdapterResidency) -> Self {
        let AdapterResidency { reported, device, host } = residency;
        let waiting = reported.waiting.iter().filter(|name| !device.contains(*name) && !host.contains(*name));
        Self {
            reported: reported.clone(),
            recently_used: device.iter().chain(waiting).chain(host).cloned().collect(),
        }
    }

    /// Records the adapters that the endpoint reports.
    pub(crate) fn record_report(&mut self, reported: &Adapters) {
        self.reported = reported.clone();
        let running: BTreeSet<_> = reported.running.iter().cloned().collect();
        let waiting: BTreeSet<_> = reported.waiting.iter().cloned().collect();
        let earlier = std::mem::take(&mut self.recently_used).into_iter();
        let earlier = earlier.filter(|name| !running.contains(name) && !waiting.contains(name));
        let only_waiting = waiting.difference(&running).cloned();
        self.recently_used = running.iter().cloned().chain(only_waiting).chain(earlier).collect();
        self.forget_the_oldest();
    }

    /// Records that a request for `adapter` was sent to the endpoint.
    pub(crate) fn record_use(&mut self, adapter: &Arc<str>) {
        self.recently_used.retain(|name| name != adapter);
        self.recently_used.insert(0, Arc::clone(adapter));
        self.forget_the_oldest();
    }

    fn forget_the_oldest(&mut self) {
        self.recently_used.truncate(self.reported.slots as usize + AdapterResidency::MAX_INFERRED_HOST);
    }

    /// Returns where the adapters are: as the engine reports it, or else derived from their use.
    pub(crate) fn residency(&self) -> AdapterResidency {
        if let Some(LoadedAdapters { mut device, mut host }) = self.reported.loaded.clone() {
            // Engines report them in any order; lookups need them sorted.
            device.sort_unstable();
            host.sort_unstable();
            return AdapterResidency { reported: self.reported.clone(), device, host };
        }
        let is_running = |name: &Arc<str>| self.reported.running.binary_search(name).is_ok();
        let (running, others): (Vec<_>, Vec<_>) = self.recently_used.iter().cloned().partition(is_running);
        let room = (self.reported.slots as usize).saturating_sub(running.len()).min(others.len());
        let (kept, mut host) = (others[..room].to_vec(), others[room..].to_vec());
        // An adapter that waits for its first load was not there before.
        host.retain(|name| self.reported.waiting.binary_search(name).is_err());
        let mut device = [running, kept].concat();
        device.sort_unstable();
        host.sort_unstable();
        AdapterResidency { reported: self.reported.clone(), device, host }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool_state::AdapterLocation;

    fn names(text: &str) -> Vec<Arc<str>> {
        text.split_whitespace().map(Arc::from).collect()
    }

    fn report(usage: &mut AdapterUsage, running: &str, waiting: &str) -> AdapterResidency {
        usage.record_report(&Adapters {
            slots: 2,
            running: names(running),
            waiting: names(waiting),
            loaded: None,
        });
        usage.residency()
    }

    #[test]
    fn most_recently_used_adapters_stay_on_the_device() {
        let mut usage = AdapterUsage::default();
        report(&mut usage, "a b", "");
        let residency = report(&mut usage, "c", "");
        assert_eq!(2, residency.device.len());
        assert_eq!(AdapterLocation::Device, residency.location_of("c"));
        assert_eq!((0, 1), (residency.free_slots(), residency.host.len()));
    }

    #[test]
    fn sent_requests_count_before_they_are_reported() {
        let mut usage = AdapterUsage::default();
        report(&mut usage, "", "");
        usage.record_use(&Arc::from("a"));
        let residency = usage.residency();
        assert_eq!((AdapterLocation::Device, 1), (residency.location_of("a"), residency.free_slots()));
    }

    #[test]
    fn waiting_adapter_is_loading_or_absent() {
        let mut usage = AdapterUsage::default();
        let residency = report(&mut usage, "a", "b c");
        assert_eq!(AdapterLocation::Device, residency.location_of("a"));
        let places = ["b", "c"].map(|name| residency.location_of(name));
        assert!(places.contains(&AdapterLocation::Loading) && places.contains(&AdapterLocation::Absent));
    }

    #[test]
    fn adapters_are_full_when_every_slot_runs() {
        let mut usage = AdapterUsage::default();
        assert!(report(&mut usage, "a b", "").is_full());
        assert!(!report(&mut usage, "a", "").is_full());
    }

    #[test]
    fn reported_residency_replaces_the_derived_one() {
        let mut usage = AdapterUsage::default();
        report(&mut usage, "a b", "");
        let loaded = Some(LoadedAdapters { device: names("c"), host: names("a") });
        usage.record_report(&Adapters { slots: 2, loaded, ..Adapters::default() });
        let residency = usage.residency();
        let places = ["a", "b", "c"].map(|name| residency.location_of(name));
        assert_eq!([AdapterLocation::Host, AdapterLocation::Absent, AdapterLocation::Device], places);
        assert_eq!(1, residency.free_slots());
    }

    #[test]
    fn loaded_adapters_are_found_in_any_reported_order() {
        let mut usage = AdapterUsage::default();
        let loaded = Some(LoadedAdapters { device: names("c b a"), host: names("f e d") });
        usage.record_report(&Adapters { slots: 3, loaded, ..Adapters::default() });
        let residency = usage.residency();
        for (name, place) in ["a", "b", "c"].map(|name| (name, AdapterLocation::Device)) {
            assert_eq!(place, residency.location_of(name), "{name}");
        }
        for (name, place) in ["d", "e", "f"].map(|name| (name, AdapterLocation::Host)) {
            assert_eq!(place, residency.location_of(name), "{name}");
        }
    }
}
