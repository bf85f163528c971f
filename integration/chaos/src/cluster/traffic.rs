//! Counts what the proxies do, so that a test can prove that a cut held something back.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::process_id::ProcessId;

/// What the proxies did between two processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PairTraffic {
    /// Connections that one opened to the other.
    pub(crate) opened: u64,
    /// How often data, a new connection or an end had to wait for the end of a cut.
    pub(crate) held_back: u64,
}

/// What the proxies did, by pair of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrafficCounts(BTreeMap<(ProcessId, ProcessId), PairTraffic>);

impl TrafficCounts {
    /// Returns what happened between two processes, in any direction.
    pub(crate) fn between(&self, one: ProcessId, other: ProcessId) -> PairTraffic {
        self.0.get(&pair(one, other)).copied().unwrap_or_default()
    }

    /// Returns what happened after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let later = self.0.iter().map(|(key, now)| {
            let then = before.0.get(key).copied().unwrap_or_default();
            let (opened, held_back) = (now.opened - then.opened, now.held_back - then.held_back);
            (*key, PairTraffic { opened, held_back })
        });
        Self(later.collect())
    }

    /// Returns the counts of a pair, for a change.
    pub(crate) fn of_pair(&mut self, one: ProcessId, other: ProcessId) -> &mut PairTraffic {
        self.0.entry(pair(one, other)).or_default()
    }
}

fn pair(one: ProcessId, other: ProcessId) -> (ProcessId, ProcessId) {
    (one.min(other), one.max(other))
}

/// The counts of all proxies of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<TrafficCounts>);

impl Traffic {
    /// Returns the counts so far.
    pub(crate) fn counts(&self) -> TrafficCounts {
        self.lock().clone()
    }

    pub(super) fn count_opened(&self, client: ProcessId, server: ProcessId) {
        self.lock().of_pair(client, server).opened += 1;
    }

    pub(super) fn count_held_back(&self, client: ProcessId, server: ProcessId) {
        self.lock().of_pair(client, server).held_back += 1;
    }

    fn lock(&self) -> MutexGuard<'_, TrafficCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
