//! A ring buffer of the latest decisions, each with everything it read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use signalbox_schedule::Recording;

/// The latest decisions. Writers claim slots by counting and never wait.
#[derive(Debug)]
pub(crate) struct RecordingRing {
    capacity: usize,
    /// Allocated with the first decision: most of many pools may be idle.
    slots: OnceLock<Box<[ArcSwapOption<Recording>]>>,
    next: AtomicU64,
}

impl RecordingRing {
    /// Returns a ring for the latest `capacity` decisions.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, slots: OnceLock::new(), next: AtomicU64::new(0) }
    }

    /// Returns the maximum number of decisions in the ring.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of the next decision.
    pub(crate) fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Stores a decision that is numbered by [`Self::take_number`], in place of the oldest one.
    pub(crate) fn push(&self, recording: Arc<Recording>) {
        if let Some(slot) = recording.number.checked_rem(self.capacity as u64) {
            let empty = || (0..self.capacity).map(|_| ArcSwapOption::empty()).collect();
            self.slots.get_or_init(empty)[slot as usize].store(Some(recording));
        }
    }

    /// Removes all decisions.
    pub(crate) fn clear(&self) {
        self.slots.get().into_iter().flatten().for_each(|slot| slot.store(None));
    }

    /// Returns all decisions in the ring, latest first.
    pub(crate) fn latest_first(&self) -> Vec<Arc<Recording>> {
        let slots = self.slots.get().into_iter().flatten();
        let mut recordings: Vec<_> = slots.filter_map(ArcSwapOption::load_full).collect();
        recordings.sort_unstable_by_key(|recording| std::cmp::Reverse(recording.number));
        recordings
    }
}

#[cfg(test)]
mod tests {
    use signalbox_schedule::{Decision, Policy};
    use signalbox_state::{LocalState, PrefixMatches, View};
    use signalbox_types::{Origin, Request};
    use smallvec::SmallVec;

    use super::*;

    fn push_one(ring: &RecordingRing) {
        let local = LocalState {
            origin: Origin(1),
            own: Vec::new(),
            peers: Vec::new(),
            prefilling_ms: Vec::new(),
            adapter_sent_to: SmallVec::new(),
            probed: SmallVec::new(),
            unserved: Vec::new(),
        };
        ring.push(Arc::new(Recording {
            format_version: Recording::FORMAT,
            number: ring.take_number(),
            at_unix_ms: 0,
            request_id: None,
            view_age_ms: 0,
            view: Arc::new(View::default()),
            local,
            matches: PrefixMatches::default(),
            request: Request::default(),
            policy: Arc::new(Policy::default()),
            seed: 0,
            decision: Decision::NoEndpoint,
            waited: None,
        }));
    }

    fn numbers(ring: &RecordingRing) -> Vec<u64> {
        ring.latest_first().iter().map(|recording| recording.number).collect()
    }

    #[test]
    fn latest_decisions_replace_older_ones() {
        let ring = RecordingRing::new(3);
        assert!(numbers(&ring).is_empty());
        (0..2).for_each(|_| push_one(&ring));
        assert_eq!(vec![1, 0], numbers(&ring));
        (0..3).for_each(|_| push_one(&ring));
        assert_eq!(vec![4, 3, 2], numbers(&ring));
        ring.clear();
        assert!(numbers(&ring).is_empty());
    }

    #[test]
    fn ring_without_capacity_stores_nothing() {
        let ring = RecordingRing::new(0);
        push_one(&ring);
        assert!(numbers(&ring).is_empty());
    }

    #[test]
    fn concurrent_writers_fill_all_slots() {
        let ring = RecordingRing::new(64);
        std::thread::scope(|scope| {
            (0..4).for_each(|_| {
                scope.spawn(|| (0..1_000).for_each(|_| push_one(&ring)));
            });
        });
        let numbers = numbers(&ring);
        assert_eq!(64, numbers.len());
        assert!(numbers.iter().all(|number| *number < 4_000), "{numbers:?}");
    }
}
