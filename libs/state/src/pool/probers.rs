//! The replicas that can send a probe of a half-open circuit.

use signalbox_types::Origin;

/// The live replicas. They take turns, those first that have requests to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probers {
    live: Vec<Origin>,
    /// Those that had requests in flight recently.
    busy: Vec<Origin>,
}

impl Probers {
    /// Creates the probers from the live replicas, in order, and whether each had requests in flight recently.
    pub(crate) fn new(replicas: impl IntoIterator<Item = (Origin, bool)>) -> Self {
        let mut probers = Self::default();
        for (origin, is_busy) in replicas {
            probers.live.push(origin);
            if is_busy {
                probers.busy.push(origin);
            }
        }
        probers
    }

    /// Returns whether the replica is live.
    pub(crate) fn is_live(&self, origin: Origin) -> bool {
        self.live.binary_search(&origin).is_ok()
    }

    /// Returns the replica whose turn it is after `last`, if there is any.
    pub(crate) fn next_after(&self, last: Option<Origin>) -> Option<Origin> {
        let candidates = if self.busy.is_empty() { &self.live } else { &self.busy };
        let after = last.and_then(|last| candidates.iter().find(|origin| **origin > last));
        after.or(candidates.first()).copied()
    }
}
