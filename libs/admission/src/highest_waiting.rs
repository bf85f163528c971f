//! The highest priorities of which requests wait, for requests that arrive.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::gate_core::GateCore;
use crate::owner_silence::highest_waiting;

/// Stands for "no priority": lower than every one.
const NONE: i64 = i64::MIN;

/// The highest priorities of which requests wait here and at other replicas, as a gate knows them. Requests that arrive read
/// them without a lock.
#[derive(Debug)]
pub struct HighestWaiting {
    here: AtomicI64,
    elsewhere: AtomicI64,
}

impl Default for HighestWaiting {
    fn default() -> Self {
        Self { here: AtomicI64::new(NONE), elsewhere: AtomicI64::new(NONE) }
    }
}

impl HighestWaiting {
    /// Publishes what `core` knows.
    pub fn publish<W>(&self, core: &GateCore<W>) {
        let store = |to: &AtomicI64, highest: Option<i32>| {
            to.store(highest.map_or(NONE, i64::from), Ordering::Relaxed);
        };
        store(&self.here, core.highest_here());
        store(&self.elsewhere, core.highest_elsewhere());
    }

    /// Returns the highest priority of which requests wait for a grant, at any replica, while the owner has been silent for
    /// `owner_silence_ms`.
    pub fn at(&self, owner_silence_ms: u64) -> Option<i32> {
        let load = |of: &AtomicI64| i32::try_from(of.load(Ordering::Relaxed)).ok();
        highest_waiting(load(&self.here), load(&self.elsewhere), owner_silence_ms)
    }
}
