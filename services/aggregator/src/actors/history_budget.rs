//! How much history each pool keeps, so that those of all pools together fit into the memory for them. Pure.

use std::time::Duration;

use signalbox_state::JournalBounds;

/// The number of pools from which on they share the memory. Fewer pools get as much each as so many would.
const SHARED_FROM: usize = 4;

/// The least that a pool keeps in bytes, however many there are: a follower that was away for a moment continues
/// from it. A snapshot of each pool costs more than the memory that less history saves.
const LEAST_BYTES: usize = 1 << 20;

/// How many times as much a pool keeps of history that is young, or follows a snapshot whose receiver continues from
/// there.
const MAX_FACTOR: usize = 4;

/// The memory for the histories of all pools.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistoryBudget {
    bytes: usize,
    /// How long history is kept beyond a pool's share of `bytes`.
    time: Duration,
}

impl HistoryBudget {
    pub(crate) fn new(bytes: usize, time: Duration) -> Self {
        Self { bytes, time }
    }

    /// Returns how much each of `pools` pools keeps.
    pub(crate) fn share(self, pools: usize) -> JournalBounds {
        let keep_bytes = (self.bytes / pools.max(SHARED_FROM)).max(LEAST_BYTES);
        let keep_ms = self.time.as_millis() as u64;
        JournalBounds { keep_bytes, keep_ms, max_bytes: keep_bytes.saturating_mul(MAX_FACTOR) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pool_keeps_what_is_the_default_of_pools() {
        assert_eq!(JournalBounds::default(), HistoryBudget::new(64 << 20, Duration::from_secs(5)).share(1));
    }

    #[test]
    fn pools_share_the_memory_down_to_a_minimum() {
        let kept = |pools| HistoryBudget::new(64 << 20, Duration::from_secs(5)).share(pools).keep_bytes;
        let mib = [0, 4, 8, 64, 100, 1_000].map(|pools| kept(pools) >> 20);
        assert_eq!([16, 16, 8, 1, 1, 1], mib);
        for pools in 4..=64 {
            assert!(pools * kept(pools) <= 64 << 20, "{pools} pools keep {} bytes each", kept(pools));
        }
    }
}
