//! The Go EPP's flow control, as each of its replicas runs it for itself, with its defaults: `utilization-detector`,
//! `static-usage-limit-policy`, `global-strict-fairness-policy` and `fcfs-ordering-policy`, no eviction.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use signalbox_admission::Seen;
use signalbox_flow::Detector;

/// The defaults of `utilization-detector`: waiting requests, and the use of the KV cache.
const DETECTOR: Detector = Detector::Utilization { queue_depth: 5.0, kv_use: 0.8 };

/// The saturation at which no band goes: the threshold of `static-usage-limit-policy`.
const CEILING: f64 = 1.0;

/// The limit on the requests of a band (`maxRequests`), and `defaultRequestTTL`.
const BAND_REQUESTS: usize = 5_000;
const TTL_MS: u64 = 60_000;

/// How often expired requests are swept.
const SWEEP_MS: u64 = 1_000;

/// The requests that wait at one replica. Between the flows of a band, and within each, the one goes first that came first: so
/// a band is one queue.
#[derive(Debug, Default)]
pub(crate) struct GoFlow {
    /// By priority, highest first: requests with the times of their arrival.
    bands: BTreeMap<Reverse<i32>, VecDeque<(u64, usize)>>,
    swept_at_ms: u64,
}

impl GoFlow {
    /// Interval between two cycles while nothing arrives.
    pub(crate) const TICK_US: u64 = 1_000;

    /// Adds a request; returns whether there was room.
    pub(crate) fn enqueue(&mut self, now_ms: u64, priority: i32, request: usize) -> bool {
        let band = self.bands.entry(Reverse(priority)).or_default();
        let has_room = band.len() < BAND_REQUESTS;
        if has_room {
            band.push_back((now_ms, request));
        }
        has_room
    }

    /// Runs one cycle, which lets at most one request go. A band that waits holds up the ones below it.
    pub(crate) fn dispatch(&mut self, saturation: impl FnOnce() -> f64) -> Option<usize> {
        let band = self.bands.values_mut().find(|band| !band.is_empty())?;
        if saturation() >= CEILING {
            return None;
        }
        band.pop_front().map(|(_, request)| request)
    }

    /// Drops what has waited for too long, once a second.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<usize> {
        let mut dropped = Vec::new();
        if now_ms < self.swept_at_ms + SWEEP_MS {
            return dropped;
        }
        self.swept_at_ms = now_ms;
        for band in self.bands.values_mut() {
            let expired = band.iter().take_while(|(at_ms, _)| now_ms - *at_ms >= TTL_MS).count();
            dropped.extend(band.drain(..expired).map(|(_, request)| request));
        }
        dropped
    }

    pub(crate) fn waits(&self) -> bool {
        self.bands.values().any(|band| !band.is_empty())
    }
}

/// Returns the saturation of the pool as a replica scraped it.
pub(crate) fn go_saturation(seen: Seen<'_>) -> f64 {
    seen.pool_saturation(&DETECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycle_lets_one_request_of_the_highest_band_go_unless_the_pool_is_full() {
        let mut flow = GoFlow::default();
        assert_eq!(None, flow.dispatch(|| panic!("nothing waits")));
        for (priority, request) in [(-10, 1), (0, 2), (0, 3)] {
            assert!(flow.enqueue(5, priority, request));
        }
        assert_eq!(None, flow.dispatch(|| CEILING));
        let order: Vec<_> = std::iter::from_fn(|| flow.dispatch(|| 0.9)).collect();
        assert_eq!(vec![2, 3, 1], order);
        assert!(!flow.waits());
    }

    #[test]
    fn requests_expire_at_a_sweep() {
        let mut flow = GoFlow::default();
        flow.enqueue(500, 0, 1);
        assert!(flow.expire(TTL_MS).is_empty());
        assert!(flow.expire(TTL_MS + SWEEP_MS - 1).is_empty());
        assert_eq!(vec![1], flow.expire(TTL_MS + SWEEP_MS));
    }
}
