//! The latest decisions, with all that they read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use signalbox_schedule::Recording;

/// The latest decisions. Writers take a place each by counting, and wait for nobody.
#[derive(Debug)]
pub(crate) struct Ring {
    places: Box<[ArcSwapOption<Recording>]>,
    next: AtomicU64,
}

impl Ring {
    /// Keeps so many decisions.
    pub(crate) fn new(decisions: usize) -> Self {
        let places = (0..decisions).map(|_| ArcSwapOption::empty()).collect();
        Self { places, next: AtomicU64::new(0) }
    }

    /// How many decisions it keeps at most.
    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// The number of the next decision.
    pub(crate) fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a decision that has its number from here, in the place of the one that is longest past.
    pub(crate) fn keep(&self, recording: Arc<Recording>) {
        if let Some(at) = recording.number.checked_rem(self.places.len() as u64) {
            self.places[at as usize].store(Some(recording));
        }
    }

    /// What it keeps, the latest first.
    pub(crate) fn latest_first(&self) -> Vec<Arc<Recording>> {
        let mut kept: Vec<_> = self.places.iter().filter_map(ArcSwapOption::load_full).collect();
        kept.sort_unstable_by_key(|recording| std::cmp::Reverse(recording.number));
        kept
    }
}

#[cfg(test)]
mod tests {
    use signalbox_schedule::{Decision, Policy};
    use signalbox_state::{LocalState, PeerLoad, PrefixMatches, View};
    use signalbox_types::{Origin, Request};
    use smallvec::SmallVec;

    use super::*;

    fn keep(ring: &Ring) {
        let local = LocalState {
            origin: Origin(1),
            own: Vec::new(),
            prefilling_ms: Vec::new(),
            others: PeerLoad::Current,
            adapter_sent: SmallVec::new(),
        };
        ring.keep(Arc::new(Recording {
            recording: Recording::FORMAT,
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
        }));
    }

    fn numbers(ring: &Ring) -> Vec<u64> {
        ring.latest_first().iter().map(|recording| recording.number).collect()
    }

    #[test]
    fn the_latest_are_kept() {
        let ring = Ring::new(3);
        assert!(numbers(&ring).is_empty());
        (0..2).for_each(|_| keep(&ring));
        assert_eq!(vec![1, 0], numbers(&ring));
        (0..3).for_each(|_| keep(&ring));
        assert_eq!(vec![4, 3, 2], numbers(&ring));
    }

    #[test]
    fn without_places_nothing_is_kept() {
        let ring = Ring::new(0);
        keep(&ring);
        assert!(numbers(&ring).is_empty());
    }

    #[test]
    fn many_writers_fill_all_places() {
        let ring = Ring::new(64);
        std::thread::scope(|scope| {
            (0..4).for_each(|_| {
                scope.spawn(|| (0..1_000).for_each(|_| keep(&ring)));
            });
        });
        let numbers = numbers(&ring);
        assert_eq!(64, numbers.len());
        assert!(numbers.iter().all(|number| *number < 4_000), "{numbers:?}");
    }
}
