//! The LoRA adapters: residency in device slots and host memory, and the time to load them.
//!
//! As in vLLM, the worker loads an adapter when the first request that needs it is scheduled, and the pass of
//! all requests waits for that. Host memory also holds the adapters on the device. Evicting an adapter from a
//! slot therefore costs nothing, and loading it again is fast while it is still in host memory.

use hashlink::{LinkedHashMap, LinkedHashSet};

use super::config::ModelConfig;
use super::event::AdapterId;
use super::stats::AdapterStats;

/// The LoRA adapters of one model server.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    /// The adapters in device slots with the number of running requests that use each, least recently used first; never
    /// more than the device has.
    slots: LinkedHashMap<AdapterId, u32>,
    /// Adapters in host memory, including those in `slots`, least recently used first.
    host: LinkedHashSet<AdapterId>,
    /// Number of adapters loaded from disk since the start.
    pub(super) disk_loads: u64,
    /// Number of adapters loaded from host memory since the start.
    pub(super) host_loads: u64,
}

impl Adapters {
    /// Returns whether a request with this adapter can join the batch: the adapter has a slot, or one is empty
    /// or unused.
    pub(super) fn has_slot_for(&self, adapter: AdapterId, config: &ModelConfig) -> bool {
        self.slots.len() < config.max_loras as usize
            || self.slots.iter().any(|(resident, users)| *resident == adapter || *users == 0)
    }

    /// Counts a request that joins the batch; there must be a slot for its adapter. Returns the time to load
    /// the adapter, 0 if it is in a slot.
    pub(super) fn acquire(&mut self, adapter: AdapterId, config: &ModelConfig) -> u64 {
        let load_us = if self.slots.contains_key(&adapter) { 0 } else { self.load(adapter, config) };
        self.touch(adapter, |users| users + 1);
        load_us
    }

    /// Counts a request that leaves the batch.
    pub(super) fn release(&mut self, adapter: Option<AdapterId>) {
        if let Some(adapter) = adapter {
            self.touch(adapter, |users| users.checked_sub(1).expect("a request releases its adapter once"));
        }
    }

    /// Adds the adapters in slots and in host memory to `stats`.
    pub(super) fn add_residency(&self, stats: &mut AdapterStats) {
        stats.resident.extend(self.slots.keys());
        stats.host.extend(&self.host);
    }

    fn load(&mut self, adapter: AdapterId, config: &ModelConfig) -> u64 {
        if self.slots.len() >= config.max_loras as usize {
            let unused = self.slots.iter().find(|(_, users)| **users == 0).map(|(adapter, _)| *adapter);
            self.slots.remove(&unused.expect("there is a slot for the adapter"));
        }
        let load_us = if self.host.contains(&adapter) {
            self.host_loads += 1;
            config.lora_host_load_us
        } else {
            self.disk_loads += 1;
            self.host.insert(adapter);
            config.lora_disk_load_us
        };
        self.slots.insert(adapter, 0);
        self.shrink_host(config.max_cpu_loras);
        load_us
    }

    /// Evicts an adapter from host memory if it is full. Adapters in slots stay, because host memory is no
    /// smaller than the device.
    fn shrink_host(&mut self, capacity: Option<u32>) {
        if capacity.is_some_and(|capacity| self.host.len() > capacity as usize) {
            let oldest = self.host.iter().find(|adapter| !self.slots.contains_key(adapter)).copied();
            oldest.map(|oldest| self.host.remove(&oldest));
        }
    }

    /// Changes the number of users and marks the adapter as most recently used.
    fn touch(&mut self, adapter: AdapterId, change: impl FnOnce(u32) -> u32) {
        let users = self.slots.to_back(&adapter).expect("an adapter in use is in a slot");
        *users = change(*users);
        self.host.to_back(&adapter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_loras: u32, max_cpu_loras: Option<u32>) -> ModelConfig {
        ModelConfig { max_loras, max_cpu_loras, ..ModelConfig::default() }
    }

    /// Uses an adapter for one request; returns the time to load it.
    fn use_once(adapters: &mut Adapters, adapter: AdapterId, config: &ModelConfig) -> u64 {
        assert!(adapters.has_slot_for(adapter, config));
        let load_us = adapters.acquire(adapter, config);
        adapters.release(Some(adapter));
        load_us
    }

    #[test]
    fn least_recently_used_adapter_is_evicted_and_reloaded_from_host_memory() {
        let (config, mut adapters) = (config(2, None), Adapters::default());
        let load_us = [1, 2, 1, 3, 1, 2].map(|adapter| use_once(&mut adapters, adapter, &config));
        assert_eq!(load_us, [300_000, 300_000, 0, 300_000, 0, 20_000]);
        assert_eq!((adapters.disk_loads, adapters.host_loads), (3, 1));
    }

    #[test]
    fn host_memory_evicts_the_least_recently_used_adapter_outside_slots() {
        let (config, mut adapters) = (config(1, Some(2)), Adapters::default());
        let load_us = [1, 2, 1, 3, 2, 3].map(|adapter| use_once(&mut adapters, adapter, &config));
        assert_eq!(load_us, [300_000, 300_000, 20_000, 300_000, 300_000, 20_000]);
        let mut stats = AdapterStats::default();
        adapters.add_residency(&mut stats);
        assert_eq!((stats.resident, stats.host), (vec![3], vec![2, 3]));
    }

    #[test]
    fn adapters_in_use_keep_their_slots() {
        let (config, mut adapters) = (config(2, None), Adapters::default());
        adapters.acquire(1, &config);
        adapters.acquire(2, &config);
        assert!(adapters.has_slot_for(1, &config) && !adapters.has_slot_for(3, &config));
        adapters.release(Some(2));
        assert!(adapters.has_slot_for(3, &config));
        adapters.acquire(3, &config);
        assert_eq!((adapters.disk_loads, adapters.slots.len()), (3, 2));
        assert!(!adapters.has_slot_for(2, &config), "3 has evicted it");
    }
}
