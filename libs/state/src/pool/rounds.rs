//! Rounds: which endpoints the owner considers after a tick, a bounded number with each input.

use std::collections::BTreeSet;

use signalbox_prefix::EndpointSet;
use signalbox_types::EndpointKey;

/// The maximum number of endpoints that are considered with one input.
const MAX_ENDPOINTS_PER_INPUT: usize = 512;

/// The endpoints to consider. A round is the work of one tick: the endpoints that something happened to since the
/// last one, and those whose time has come. The next round begins with the first tick after the end of the last one.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    touched: EndpointSet,
    /// When time alone changes an endpoint. Some of these times are outdated: then the endpoint is considered in vain.
    due: BTreeSet<(u64, EndpointKey)>,
    /// What is left of the current round, the last endpoint first.
    current: Vec<EndpointKey>,
}

impl Rounds {
    /// Lets the next round consider `endpoint`.
    pub(super) fn touch(&mut self, endpoint: EndpointKey) {
        self.touched.insert(endpoint);
    }

    /// Lets the first round at or after `at_ms` consider `endpoint`.
    pub(super) fn touch_at(&mut self, at_ms: u64, endpoint: EndpointKey) {
        self.due.insert((at_ms, endpoint));
    }

    /// Returns whether all endpoints of the last round were considered.
    pub(super) fn is_over(&self) -> bool {
        self.current.is_empty()
    }

    /// Begins a round at `now_ms`.
    pub(super) fn begin(&mut self, now_ms: u64) {
        let mut endpoints: Vec<_> = self.touched.drain().collect();
        while self.due.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            endpoints.extend(self.due.pop_first().map(|(_, endpoint)| endpoint));
        }
        // In a fixed order, so that equal inputs give equal changes.
        endpoints.sort_unstable_by(|a, b| b.cmp(a));
        endpoints.dedup();
        self.current = endpoints;
    }

    /// Takes the next endpoints of the round.
    pub(super) fn take(&mut self) -> Vec<EndpointKey> {
        let rest = self.current.len().saturating_sub(MAX_ENDPOINTS_PER_INPUT);
        let mut taken = self.current.split_off(rest);
        taken.reverse();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_what_was_touched_or_is_due_once_and_in_order() {
        let mut rounds = Rounds::default();
        [3, 1, 3].into_iter().for_each(|key| rounds.touch(EndpointKey(key)));
        [(5, 2), (5, 1), (6, 4)]
            .into_iter()
            .for_each(|(at_ms, key)| rounds.touch_at(at_ms, EndpointKey(key)));
        rounds.begin(5);
        assert_eq!([1, 2, 3].map(EndpointKey).to_vec(), rounds.take());
        assert!(rounds.is_over());
        rounds.begin(6);
        assert_eq!(vec![EndpointKey(4)], rounds.take());
        rounds.begin(100);
        assert!(rounds.is_over());
    }

    #[test]
    fn a_long_round_takes_several_inputs() {
        let all = 2 * MAX_ENDPOINTS_PER_INPUT + 1;
        let mut rounds = Rounds::default();
        (0..all as u64).for_each(|key| rounds.touch(EndpointKey(key)));
        rounds.begin(0);
        let mut taken = Vec::new();
        while !rounds.is_over() {
            let part = rounds.take();
            assert!((1..=MAX_ENDPOINTS_PER_INPUT).contains(&part.len()));
            taken.extend(part);
        }
        assert_eq!((0..all as u64).map(EndpointKey).collect::<Vec<_>>(), taken);
    }
}
