//! How long it takes from asking for a replica until it serves.

use std::collections::VecDeque;

/// What is assumed until it was measured, in milliseconds.
const ASSUMED_MS: u64 = 60_000;

/// The latest start-ups that are remembered.
const REMEMBERED: usize = 16;

/// A start-up that takes longer than this counts as this long: the cluster has no room.
const MAX_MS: u64 = 600_000;

/// Measures how long it takes from asking for more replicas until they serve: with the time that the autoscaler, the
/// scheduler and the engine need.
#[derive(Debug, Default)]
pub(crate) struct StartupMeter {
    /// Replicas that were asked for and are not there yet: how many there will be then, and when they were asked for.
    pending: VecDeque<(u32, u64)>,
    latest_ms: VecDeque<u64>,
}

impl StartupMeter {
    /// Takes over what an earlier owner has measured.
    pub(crate) fn inherit(&mut self, startup_ms: u64) {
        if startup_ms > 0 && startup_ms != ASSUMED_MS {
            self.latest_ms.push_back(startup_ms);
        }
    }

    /// Records that `serving` replicas serve, of `desired` ones.
    pub(crate) fn record(&mut self, now_ms: u64, serving: u32, desired: u32) {
        // Nobody waits for replicas that are not wanted any more.
        self.pending.retain(|(count, _)| *count <= desired);
        while let Some((_, asked_ms)) = self.pending.front().filter(|(count, _)| *count <= serving) {
            self.latest_ms.push_back(now_ms.saturating_sub(*asked_ms).min(MAX_MS));
            self.pending.pop_front();
        }
        while self.latest_ms.len() > REMEMBERED {
            self.latest_ms.pop_front();
        }
        let asked = self.pending.back().map_or(serving, |(count, _)| *count);
        if desired > asked {
            self.pending.extend((asked + 1..=desired).map(|count| (count, now_ms)));
        }
    }

    /// Returns the 90th percentile of the latest start-ups, in milliseconds.
    pub(crate) fn p90_ms(&self) -> u64 {
        let mut sorted: Vec<_> = self.latest_ms.iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len() * 9).div_ceil(10).saturating_sub(1);
        sorted.get(at).copied().unwrap_or(ASSUMED_MS)
    }

    /// Returns for how long the oldest replica that was asked for has not come, in milliseconds; 0 if none is awaited.
    pub(crate) fn awaited_ms(&self, now_ms: u64) -> u64 {
        self.pending.front().map_or(0, |(_, asked_ms)| now_ms.saturating_sub(*asked_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ups_are_measured_from_the_request_to_the_service() {
        let mut meter = StartupMeter::default();
        assert_eq!(ASSUMED_MS, meter.p90_ms());
        meter.record(0, 1, 3);
        meter.record(40_000, 2, 3);
        meter.record(90_000, 3, 3);
        assert_eq!((90_000, 0), (meter.p90_ms(), meter.awaited_ms(100_000)));
    }

    #[test]
    fn replicas_that_are_no_longer_wanted_are_not_awaited() {
        let mut meter = StartupMeter::default();
        meter.record(0, 1, 3);
        meter.record(500_000, 1, 1);
        meter.record(600_000, 1, 2);
        assert_eq!(10_000, meter.awaited_ms(610_000));
        meter.record(620_000, 2, 2);
        assert_eq!(20_000, meter.p90_ms());
    }
}
