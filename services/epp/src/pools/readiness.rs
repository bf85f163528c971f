//! Decides when a replica that serves all pools is ready. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long a replica waits for the view of a pool. A pool that no aggregator owns must not keep the replica
/// from serving the others.
const VIEW_PATIENCE: Duration = Duration::from_secs(10);

/// Whether a replica that serves all pools is ready: it has heard which pools there are, and has a view of each
/// or has waited long enough for it. Once ready, it stays so: each pool's port tells the health of that pool.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    is_ready: bool,
    known_since: BTreeMap<String, Duration>,
}

impl Readiness {
    /// Returns whether the replica is ready at the time `now`. `is_synced` tells whether it has heard which pools
    /// there are, and `pools` whether it has a view of each.
    pub(super) fn update<'a>(
        &mut self,
        now: Duration,
        is_synced: bool,
        pools: impl IntoIterator<Item = (&'a str, bool)>,
    ) -> bool {
        if !self.is_ready && is_synced {
            let mut waiting = 0;
            for (name, has_view) in pools {
                let since = self.known_since.entry(name.to_owned()).or_insert(now);
                waiting += usize::from(!has_view && now < *since + VIEW_PATIENCE);
            }
            self.is_ready = waiting == 0;
        }
        self.is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_is_ready_with_all_views_or_after_waiting_for_them() {
        let at = Duration::from_secs;
        let mut ready = Readiness::default();
        assert!(!ready.update(at(0), false, []));
        assert!(!ready.update(at(1), true, [("a", false), ("b", true)]));
        assert!(!ready.update(at(9), true, [("a", false), ("c", false)]));
        assert!(!ready.update(at(12), true, [("a", false), ("c", false)]), "c is known for 3 s");
        assert!(ready.update(at(12), true, [("a", false), ("c", true)]), "a is known for 11 s");
        assert!(ready.update(at(13), true, [("d", false)]), "a new pool does not change it");
        assert!(Readiness::default().update(at(0), true, []), "no pool yet");
    }
}
