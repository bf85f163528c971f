//! The autoscaling signal of a pool, as its owner published it.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use signalbox_signal::{Group, Metric, Signal, Unavailable};
use tokio::sync::watch;

/// A signal, and when it was.
#[derive(Clone, Debug)]
pub(crate) struct PublishedSignal {
    pub(crate) signal: Arc<Signal>,
    /// A reading of the pool's clock in milliseconds, and when it was read.
    clock: (u64, Instant),
}

impl PublishedSignal {
    /// `pool_now_ms` is what the pool's clock shows now.
    pub(crate) fn new(signal: Arc<Signal>, pool_now_ms: u64) -> Self {
        Self { signal, clock: (pool_now_ms, Instant::now()) }
    }

    /// Reads a number in thousandths over the groups that are `selected`; see [`Signal::read`].
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) fn read(&self, metric: Metric, selected: impl Fn(&Group) -> bool) -> Result<u64, Unavailable> {
        self.signal.read(self.pool_now_ms(), metric, selected)
    }

    /// Returns what the pool's clock shows now, in milliseconds.
    pub(crate) fn pool_now_ms(&self) -> u64 {
        let (read_ms, read_at) = self.clock;
        read_ms.saturating_add(read_at.elapsed().as_millis() as u64)
    }
}

/// The last signal of a pool. Whoever reads it waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct LatestSignal {
    latest: ArcSwapOption<PublishedSignal>,
    /// Wakes those who wait for another signal.
    pub(crate) changes: watch::Sender<()>,
}

impl LatestSignal {
    /// Returns the last signal; `None` if no owner of the pool has published one since this aggregator runs.
    pub(crate) fn get(&self) -> Option<Arc<PublishedSignal>> {
        self.latest.load_full()
    }

    /// Publishes `signal` at `pool_now_ms` of the pool's clock, unless it is the last one.
    pub(crate) fn publish(&self, signal: &Arc<Signal>, pool_now_ms: u64) {
        let is_known = self.latest.load().as_ref().is_some_and(|known| Arc::ptr_eq(&known.signal, signal));
        if !is_known {
            self.latest.store(Some(Arc::new(PublishedSignal::new(Arc::clone(signal), pool_now_ms))));
            self.changes.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_signal::{Certainty, GroupSignal, MAX_AGE_MS};

    use super::*;

    #[tokio::test]
    async fn each_signal_wakes_once_and_ages_by_the_clock_of_the_pool() {
        let latest = LatestSignal::default();
        let mut changes = latest.changes.subscribe();
        assert!(latest.get().is_none());
        let groups = vec![GroupSignal { desired: 3, ..GroupSignal::default() }];
        let signal =
            Signal { assessed_at_ms: 5_000, certainty: Certainty::Complete, groups, ..Signal::default() };
        let signal = Arc::new(signal);
        latest.publish(&signal, 5_000);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        latest.publish(&signal, 9_000);
        assert!(!changes.has_changed().unwrap());
        let read = || latest.get().unwrap().read(Metric::DesiredReplicas, |_| true);
        assert_eq!(Ok(3_000), read());
        // One that this aggregator learns of late.
        latest.publish(&Arc::new(Signal::clone(&signal)), 5_001 + MAX_AGE_MS);
        assert!(matches!(read(), Err(Unavailable::Stale { .. })));
        assert!(changes.has_changed().unwrap());
    }
}
