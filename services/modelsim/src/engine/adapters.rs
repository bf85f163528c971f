//! The LoRA adapters: residency in device slots and host memory, and the time to load them.
//!
//! As in vLLM, host memory also holds the adapters on the device. Evicting an adapter from a slot therefore
//! costs nothing, and loading it again is fast while it is still in host memory.

use super::config::ModelConfig;
use super::event::AdapterId;
use super::stats::AdapterStats;

/// Whether the adapter of a request permits its admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdapterStatus {
    /// The adapter is in a slot.
    Loaded,
    /// The adapter is being loaded or waits for a slot.
    Waiting,
}

/// A device slot that is in use.
#[derive(Debug)]
struct Slot {
    adapter: AdapterId,
    /// Number of running requests that use the adapter.
    users: u32,
    /// Time at which loading is complete.
    loaded_at_us: u64,
}

impl Slot {
    fn is_idle(&self, now_us: u64) -> bool {
        self.users == 0 && self.loaded_at_us <= now_us
    }
}

/// The LoRA adapters of one model server.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    /// Least recently used first; never more than the device has.
    slots: Vec<Slot>,
    /// Adapters in host memory, including those in `slots`, least recently used first.
    host: Vec<AdapterId>,
    /// Number of adapters loaded from disk since the start.
    pub(super) disk_loads: u64,
    /// Number of adapters loaded from host memory since the start.
    pub(super) host_loads: u64,
}

impl Adapters {
    /// Returns the status of an adapter that a request needs. Starts to load it if it is in no slot and a
    /// slot is empty or idle.
    pub(super) fn require(&mut self, adapter: AdapterId, now_us: u64, config: &ModelConfig) -> AdapterStatus {
        let known = self.slots.iter().find(|slot| slot.adapter == adapter).map(|slot| slot.loaded_at_us);
        let loaded_at_us = known.or_else(|| {
            let has_room = self.slots.len() < config.max_loras as usize || self.evict_idle(now_us);
            has_room.then(|| self.load(adapter, now_us, config))
        });
        if loaded_at_us.is_some_and(|loaded_at_us| loaded_at_us <= now_us) {
            AdapterStatus::Loaded
        } else {
            AdapterStatus::Waiting
        }
    }

    /// Counts a request that joins the batch. Its adapter, if any, must be [`AdapterStatus::Loaded`].
    pub(super) fn acquire(&mut self, adapter: Option<AdapterId>) {
        if let Some(adapter) = adapter {
            self.touch(adapter, |users| users + 1);
        }
    }

    /// Counts a request that leaves the batch.
    pub(super) fn release(&mut self, adapter: Option<AdapterId>) {
        if let Some(adapter) = adapter {
            self.touch(adapter, |users| users.checked_sub(1).expect("a request releases its adapter once"));
        }
    }

    /// Returns the time at which the next load completes.
    pub(super) fn next_load_completion_us(&self, now_us: u64) -> Option<u64> {
        self.slots.iter().map(|slot| slot.loaded_at_us).filter(|loaded_at_us| *loaded_at_us > now_us).min()
    }

    /// Adds the adapters in slots and in host memory to `stats`.
    pub(super) fn add_residency(&self, now_us: u64, stats: &mut AdapterStats) {
        let loaded = self.slots.iter().filter(|slot| slot.loaded_at_us <= now_us);
        stats.resident.extend(loaded.map(|slot| slot.adapter));
        stats.host.extend(&self.host);
    }

    fn evict_idle(&mut self, now_us: u64) -> bool {
        let oldest = self.slots.iter().position(|slot| slot.is_idle(now_us));
        oldest.map(|position| self.slots.remove(position)).is_some()
    }

    fn load(&mut self, adapter: AdapterId, now_us: u64, config: &ModelConfig) -> u64 {
        let load_us = if self.host.contains(&adapter) {
            self.host_loads += 1;
            config.lora_host_load_us
        } else {
            self.disk_loads += 1;
            self.host.push(adapter);
            config.lora_disk_load_us
        };
        let loaded_at_us = now_us + load_us;
        self.slots.push(Slot { adapter, users: 0, loaded_at_us });
        self.shrink_host(config.max_cpu_loras);
        loaded_at_us
    }

    /// Evicts an adapter from host memory if it is full. Adapters in slots stay, because host memory is no
    /// smaller than the device.
    fn shrink_host(&mut self, capacity: Option<u32>) {
        if capacity.is_some_and(|capacity| self.host.len() > capacity as usize) {
            let in_slot = |adapter: &AdapterId| self.slots.iter().any(|slot| slot.adapter == *adapter);
            if let Some(oldest) = self.host.iter().position(|adapter| !in_slot(adapter)) {
                self.host.remove(oldest);
            }
        }
    }

    /// Changes the number of users and marks the adapter as most recently used.
    fn touch(&mut self, adapter: AdapterId, change: impl FnOnce(u32) -> u32) {
        let position = self.slots.iter().position(|slot| slot.adapter == adapter);
        let mut slot = self.slots.remove(position.expect("an adapter in use is in a slot"));
        slot.users = change(slot.users);
        self.slots.push(slot);
        if let Some(position) = self.host.iter().position(|held| *held == adapter) {
            self.host[position..].rotate_left(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_loras: u32, max_cpu_loras: Option<u32>) -> ModelConfig {
        ModelConfig { max_loras, max_cpu_loras, ..ModelConfig::default() }
    }

    /// Waits until the adapter is in a slot; returns the time that took.
    fn use_once(adapters: &mut Adapters, adapter: AdapterId, now_us: &mut u64, config: &ModelConfig) -> u64 {
        let started_us = *now_us;
        while adapters.require(adapter, *now_us, config) == AdapterStatus::Waiting {
            *now_us = adapters.next_load_completion_us(*now_us).expect("an adapter is being loaded");
        }
        adapters.acquire(Some(adapter));
        adapters.release(Some(adapter));
        *now_us - started_us
    }

    #[test]
    fn least_recently_used_adapter_is_evicted_and_reloaded_from_host_memory() {
        let (config, mut adapters, mut now_us) = (config(2, None), Adapters::default(), 0);
        let mut load_us = |adapter| use_once(&mut adapters, adapter, &mut now_us, &config);
        assert_eq!([1, 2, 1, 3, 1, 2].map(&mut load_us), [300_000, 300_000, 0, 300_000, 0, 20_000]);
        assert_eq!((adapters.disk_loads, adapters.host_loads), (3, 1));
    }

    #[test]
    fn host_memory_evicts_the_least_recently_used_adapter_outside_slots() {
        let (config, mut adapters, mut now_us) = (config(1, Some(2)), Adapters::default(), 0);
        let mut load_us = |adapter| use_once(&mut adapters, adapter, &mut now_us, &config);
        assert_eq!(
            [1, 2, 1, 3, 2, 3].map(&mut load_us),
            [300_000, 300_000, 20_000, 300_000, 300_000, 20_000]
        );
        let mut stats = AdapterStats::default();
        adapters.add_residency(now_us, &mut stats);
        assert_eq!((stats.resident, stats.host), (vec![3], vec![2, 3]));
    }

    #[test]
    fn adapters_in_use_or_being_loaded_keep_their_slots() {
        let (config, mut adapters) = (config(2, None), Adapters::default());
        assert_eq!(adapters.require(1, 0, &config), AdapterStatus::Waiting);
        assert_eq!(adapters.require(1, 300_000, &config), AdapterStatus::Loaded);
        adapters.acquire(Some(1));
        assert_eq!(adapters.require(2, 300_000, &config), AdapterStatus::Waiting);
        assert_eq!(adapters.require(3, 310_000, &config), AdapterStatus::Waiting);
        assert_eq!((adapters.disk_loads, adapters.next_load_completion_us(310_000)), (2, Some(600_000)));
        adapters.release(Some(1));
        assert_eq!(adapters.require(3, 320_000, &config), AdapterStatus::Waiting);
        assert_eq!((adapters.disk_loads, adapters.slots.len()), (3, 2));
        assert_eq!(adapters.require(1, 320_000, &config), AdapterStatus::Waiting, "3 has evicted it");
    }
}
