//! The order in which pickers are tried: round robin over those that are up, then those that failed recently.

use std::time::{Duration, Instant};

/// How long a picker that failed is tried only after all others.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The order in which pickers are tried. Pure: the time is a parameter.
#[derive(Debug)]
pub(super) struct RoundRobin {
    next: usize,
    failed_until: Vec<Option<Instant>>,
}

impl RoundRobin {
    /// Creates an order over pickers `0..count`, all of them up.
    pub(super) fn new(count: usize) -> Self {
        Self { next: 0, failed_until: vec![None; count] }
    }

    /// Returns all pickers in the order in which to try them for one request: first those that are up,
    /// starting with the one whose turn it is, then those that failed recently.
    pub(super) fn order(&mut self, now: Instant) -> Vec<usize> {
        let has_failed = |index: &usize| self.failed_until[*index].is_some_and(|until| now < until);
        let (failed, mut up): (Vec<_>, Vec<_>) = (0..self.failed_until.len()).partition(has_failed);
        if !up.is_empty() {
            let start = self.next % up.len();
            up.rotate_left(start);
        }
        self.next = self.next.wrapping_add(1);
        up.extend(failed);
        up
    }

    /// Records that a picker failed.
    pub(super) fn record_failure(&mut self, index: usize, now: Instant) {
        self.failed_until[index] = Some(now + RETRY_AFTER);
    }

    /// Records that a picker answered.
    pub(super) fn record_success(&mut self, index: usize) {
        self.failed_until[index] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pickers_take_turns() {
        let mut round_robin = RoundRobin::new(3);
        let now = Instant::now();
        let firsts: Vec<_> = (0..6).map(|_| round_robin.order(now)[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_failed_picker_is_last_until_the_retry_time_or_an_answer() {
        let mut round_robin = RoundRobin::new(2);
        let now = Instant::now();
        round_robin.record_failure(0, now);
        assert_eq!(round_robin.order(now), [1, 0]);
        assert_eq!(round_robin.order(now), [1, 0]);
        round_robin.record_success(0);
        let firsts: Vec<_> = (0..4).map(|_| round_robin.order(now)[0]).collect();
        assert_eq!(firsts.iter().filter(|first| **first == 0).count(), 2);
        round_robin.record_failure(0, now);
        let later = now + RETRY_AFTER;
        assert!((0..2).any(|_| round_robin.order(later)[0] == 0));
    }

    proptest! {
        #[test]
        fn every_order_has_each_picker_once_and_pickers_that_are_up_share_evenly(
            down in proptest::collection::vec(any::<bool>(), 1..6), rounds in 1_usize..5,
        ) {
            let now = Instant::now();
            let mut round_robin = RoundRobin::new(down.len());
            down.iter().enumerate().filter(|(_, down)| **down).for_each(|(index, _)| round_robin.record_failure(index, now));
            let up = down.iter().filter(|down| !**down).count();
            let mut firsts = vec![0; down.len()];
            for _ in 0..rounds * up.max(1) {
                let mut order = round_robin.order(now);
                firsts[order[0]] += 1;
                order.sort_unstable();
                prop_assert_eq!(order, (0..down.len()).collect::<Vec<_>>());
            }
            for (index, down) in down.iter().enumerate() {
                let expected = if *down { 0 } else { rounds };
                prop_assert!(up == 0 || firsts[index] == expected);
            }
        }
    }
}
