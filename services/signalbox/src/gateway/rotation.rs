//! Which picker is asked next: round robin over those that are up, the others as a last resort.

use std::time::{Duration, Instant};

/// How long a picker that failed is asked only after all others.
const REST: Duration = Duration::from_secs(1);

/// The order in which pickers are asked. Pure: the time is a parameter.
#[derive(Debug)]
pub(super) struct Rotation {
    turn: usize,
    resting_until: Vec<Option<Instant>>,
}

impl Rotation {
    /// A rotation over pickers `0..count`, all of them up.
    pub(super) fn new(count: usize) -> Self {
        Self { turn: 0, resting_until: vec![None; count] }
    }

    /// All pickers in the order in which they are to be tried for one request: those that are up, from the
    /// one whose turn it is, then those that rest after a failure.
    pub(super) fn order(&mut self, now: Instant) -> Vec<usize> {
        let rests = |index: &usize| self.resting_until[*index].is_some_and(|until| now < until);
        let (resting, mut up): (Vec<_>, Vec<_>) = (0..self.resting_until.len()).partition(rests);
        if !up.is_empty() {
            let start = self.turn % up.len();
            up.rotate_left(start);
        }
        self.turn = self.turn.wrapping_add(1);
        up.extend(resting);
        up
    }

    /// Notes that a picker could not be asked.
    pub(super) fn failed(&mut self, index: usize, now: Instant) {
        self.resting_until[index] = Some(now + REST);
    }

    /// Notes that a picker answered.
    pub(super) fn answered(&mut self, index: usize) {
        self.resting_until[index] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn turns_go_round() {
        let mut rotation = Rotation::new(3);
        let now = Instant::now();
        let firsts: Vec<_> = (0..6).map(|_| rotation.order(now)[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_failed_picker_is_last_until_it_rested_or_answered() {
        let mut rotation = Rotation::new(2);
        let now = Instant::now();
        rotation.failed(0, now);
        assert_eq!(rotation.order(now), [1, 0]);
        assert_eq!(rotation.order(now), [1, 0]);
        rotation.answered(0);
        let firsts: Vec<_> = (0..4).map(|_| rotation.order(now)[0]).collect();
        assert_eq!(firsts.iter().filter(|first| **first == 0).count(), 2);
        rotation.failed(0, now);
        let later = now + REST;
        assert!((0..2).any(|_| rotation.order(later)[0] == 0));
    }

    proptest! {
        #[test]
        fn every_order_names_every_picker_once_and_the_up_ones_share_evenly(
            down in proptest::collection::vec(any::<bool>(), 1..6), rounds in 1_usize..5,
        ) {
            let now = Instant::now();
            let mut rotation = Rotation::new(down.len());
            down.iter().enumerate().filter(|(_, down)| **down).for_each(|(index, _)| rotation.failed(index, now));
            let up = down.iter().filter(|down| !**down).count();
            let mut firsts = vec![0; down.len()];
            for _ in 0..rounds * up.max(1) {
                let mut order = rotation.order(now);
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
