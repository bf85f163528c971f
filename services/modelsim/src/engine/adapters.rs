//! LoRA adapters: which are in the slots of the device, which in host memory, and what loading them takes.
//!
//! As in vLLM, host memory holds what the device holds, too: to leave a slot costs nothing, and to come back to one
//! is quick while host memory still has the adapter.

use super::event::{AdapterId, AdapterReading};
use crate::config::ModelConfig;

/// Whether a request may be admitted as far as its adapter is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The adapter is in a slot.
    Ready,
    /// It is being loaded, or waits for a slot.
    Waits,
}

/// A slot of the device that is not empty.
#[derive(Debug)]
struct Slot {
    adapter: AdapterId,
    /// Requests of the batch that use it.
    users: u32,
    /// When it is loaded.
    ready_us: u64,
}

impl Slot {
    fn is_idle(&self, now_us: u64) -> bool {
        self.users == 0 && self.ready_us <= now_us
    }
}

/// The adapters of one model server.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    /// The least recently used first; never more than the device has.
    slots: Vec<Slot>,
    /// Adapters in host memory, those of `slots` included; the least recently used first.
    host: Vec<AdapterId>,
    /// Adapters read from disk since the start.
    pub(super) disk_loads: u64,
    /// Adapters brought back from host memory since the start.
    pub(super) host_loads: u64,
}

impl Adapters {
    /// Where a request of this adapter stands. One that is in no slot begins to be loaded if a slot is empty or idle.
    pub(super) fn stand(&mut self, adapter: AdapterId, now_us: u64, config: &ModelConfig) -> Standing {
        let known = self.slots.iter().find(|slot| slot.adapter == adapter).map(|slot| slot.ready_us);
        let ready_us = known.or_else(|| {
            let has_room = self.slots.len() < config.max_loras as usize || self.evict_idle(now_us);
            has_room.then(|| self.load(adapter, now_us, config))
        });
        if ready_us.is_some_and(|ready_us| ready_us <= now_us) { Standing::Ready } else { Standing::Waits }
    }

    /// A request of this adapter, if any, which stands [`Standing::Ready`], joins the batch.
    pub(super) fn enter(&mut self, adapter: Option<AdapterId>) {
        if let Some(adapter) = adapter {
            self.touch(adapter, |users| users + 1);
        }
    }

    /// A request of this adapter, if any, leaves the batch.
    pub(super) fn leave(&mut self, adapter: Option<AdapterId>) {
        if let Some(adapter) = adapter {
            self.touch(adapter, |users| users.checked_sub(1).expect("a request leaves once"));
        }
    }

    /// When the next adapter is loaded that is not yet.
    pub(super) fn next_ready_us(&self, now_us: u64) -> Option<u64> {
        self.slots.iter().map(|slot| slot.ready_us).filter(|ready_us| *ready_us > now_us).min()
    }

    /// Fills in what is in slots and in host memory.
    pub(super) fn read(&self, now_us: u64, reading: &mut AdapterReading) {
        let loaded = self.slots.iter().filter(|slot| slot.ready_us <= now_us);
        reading.resident.extend(loaded.map(|slot| slot.adapter));
        reading.host.extend(&self.host);
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
        let ready_us = now_us + load_us;
        self.slots.push(Slot { adapter, users: 0, ready_us });
        self.shrink_host(config.max_cpu_loras);
        ready_us
    }

    /// Forgets what host memory has no room for. What is in a slot stays: host memory is no smaller than the device.
    fn shrink_host(&mut self, capacity: Option<u32>) {
        if capacity.is_some_and(|capacity| self.host.len() > capacity as usize) {
            let in_slot = |adapter: &AdapterId| self.slots.iter().any(|slot| slot.adapter == *adapter);
            if let Some(oldest) = self.host.iter().position(|adapter| !in_slot(adapter)) {
                self.host.remove(oldest);
            }
        }
    }

    /// Changes the number of users and makes the adapter the most recently used one.
    fn touch(&mut self, adapter: AdapterId, change: impl FnOnce(u32) -> u32) {
        let position = self.slots.iter().position(|slot| slot.adapter == adapter);
        let mut slot = self.slots.remove(position.expect("an adapter in use keeps its slot"));
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

    /// Waits until the adapter is in a slot and says how long it took.
    fn use_once(adapters: &mut Adapters, adapter: AdapterId, now_us: &mut u64, config: &ModelConfig) -> u64 {
        let began_us = *now_us;
        while adapters.stand(adapter, *now_us, config) == Standing::Waits {
            *now_us = adapters.next_ready_us(*now_us).expect("something is being loaded");
        }
        adapters.enter(Some(adapter));
        adapters.leave(Some(adapter));
        *now_us - began_us
    }

    #[test]
    fn the_least_recently_used_leaves_its_slot_and_comes_back_from_host() {
        let (config, mut adapters, mut now_us) = (config(2, None), Adapters::default(), 0);
        let mut took_us = |adapter| use_once(&mut adapters, adapter, &mut now_us, &config);
        assert_eq!([1, 2, 1, 3, 1, 2].map(&mut took_us), [300_000, 300_000, 0, 300_000, 0, 20_000]);
        assert_eq!((adapters.disk_loads, adapters.host_loads), (3, 1));
    }

    #[test]
    fn host_memory_forgets_the_least_recently_used_that_is_in_no_slot() {
        let (config, mut adapters, mut now_us) = (config(1, Some(2)), Adapters::default(), 0);
        let mut took_us = |adapter| use_once(&mut adapters, adapter, &mut now_us, &config);
        assert_eq!(
            [1, 2, 1, 3, 2, 3].map(&mut took_us),
            [300_000, 300_000, 20_000, 300_000, 300_000, 20_000]
        );
        let mut reading = AdapterReading::default();
        adapters.read(now_us, &mut reading);
        assert_eq!((reading.resident, reading.host), (vec![3], vec![2, 3]));
    }

    #[test]
    fn what_is_in_use_or_on_its_way_keeps_its_slot() {
        let (config, mut adapters) = (config(2, None), Adapters::default());
        assert_eq!(adapters.stand(1, 0, &config), Standing::Waits);
        assert_eq!(adapters.stand(1, 300_000, &config), Standing::Ready);
        adapters.enter(Some(1));
        assert_eq!(adapters.stand(2, 300_000, &config), Standing::Waits);
        assert_eq!(adapters.stand(3, 310_000, &config), Standing::Waits);
        assert_eq!((adapters.disk_loads, adapters.next_ready_us(310_000)), (2, Some(600_000)));
        adapters.leave(Some(1));
        assert_eq!(adapters.stand(3, 320_000, &config), Standing::Waits);
        assert_eq!((adapters.disk_loads, adapters.slots.len()), (3, 2));
        assert_eq!(adapters.stand(1, 320_000, &config), Standing::Waits, "it gave way to 3");
    }
}
