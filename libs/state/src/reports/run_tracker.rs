//! Tells one run of a model server from the next.

use signalbox_types::{Incarnation, Work};
use xxhash_rust::xxh3::xxh3_64;

/// The largest incarnation that is made up: the integers up to it survive every JSON tool.
const MAX_INCARNATION: u64 = (1 << 53) - 1;

/// Follows the incarnation of one model server.
///
/// A server that reports its start is told by that. The run of any other is unknown until a counter of its
/// work falls, which happens only in a restart; the run after it gets a new incarnation. An unknown
/// incarnation tells the pool's owner that the run it knows continues, as far as this observer can see.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunTracker {
    incarnation: Incarnation,
    work: Work,
}

impl RunTracker {
    /// Records what a page read at `now_ms` reports, and returns the incarnation that it comes from.
    pub(super) fn record(&mut self, now_ms: u64, reported: Incarnation, work: Work) -> Incarnation {
        if reported != Incarnation::default() {
            self.incarnation = reported;
        } else if work.fell_since(&self.work) {
            self.incarnation = self.next_incarnation(now_ms, work);
        }
        self.work = work;
        self.incarnation
    }

    /// Makes up an incarnation that no other restart has: a hash of the moment and of the work on both sides
    /// of the restart.
    fn next_incarnation(&self, now_ms: u64, work: Work) -> Incarnation {
        let of = |work: Work| [work.requests, work.prompt_tokens, work.output_tokens];
        let words = [[self.incarnation.0, now_ms, 0], of(self.work), of(work)].concat();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Incarnation((xxh3_64(&bytes) % MAX_INCARNATION) + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn work(requests: u64, prompt_tokens: u64, output_tokens: u64) -> Work {
        Work { requests, prompt_tokens, output_tokens }
    }

    #[test]
    fn a_reported_start_decides_alone() {
        let mut tracker = RunTracker::default();
        assert_eq!(Incarnation(7), tracker.record(0, Incarnation(7), work(5, 5, 5)));
        assert_eq!(Incarnation(7), tracker.record(1, Incarnation(7), work(1, 1, 1)));
        assert_eq!(Incarnation(8), tracker.record(2, Incarnation(8), work(1, 1, 1)));
    }

    #[test]
    fn one_counter_that_falls_is_enough() {
        let mut tracker = RunTracker::default();
        assert_eq!(Incarnation(0), tracker.record(0, Incarnation(0), work(3, 100, 1_000)));
        assert_ne!(Incarnation(0), tracker.record(1, Incarnation(0), work(1, 50_000, 1_000)));
    }

    proptest! {
        #[test]
        fn each_restart_gives_a_new_incarnation_and_nothing_else_does(
            runs in vec(vec((0..5u64, 0..500u64, 0..500u64), 1..6), 1..8), now_ms in any::<u32>(),
        ) {
            let mut tracker = RunTracker::default();
            let (mut seen, mut last) = (BTreeSet::new(), Work::default());
            for pages in runs {
                let (mut done, mut found) = (Work::default(), BTreeSet::new());
                for (requests, prompt_tokens, output_tokens) in pages {
                    done = work(
                        done.requests + requests,
                        done.prompt_tokens + prompt_tokens,
                        done.output_tokens + output_tokens,
                    );
                    // A run that has done at least as much as the last one when it is first seen looks like it.
                    let is_hidden = found.is_empty() && !done.fell_since(&last);
                    let before = tracker.incarnation;
                    let incarnation = tracker.record(now_ms.into(), Incarnation(0), done);
                    if is_hidden {
                        prop_assert_eq!(before, incarnation);
                        seen.remove(&incarnation);
                    }
                    found.insert(incarnation);
                    last = done;
                }
                prop_assert_eq!(1, found.len());
                prop_assert!(found.iter().all(|incarnation| seen.insert(*incarnation)));
            }
        }
    }
}
