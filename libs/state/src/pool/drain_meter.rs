//! Measures how fast granted requests leave the queues.

use crate::pool_state::DrainRate;

/// The time constant of the moving average, in milliseconds.
const TIME_CONSTANT_MS: f64 = 5_000.0;

/// A moving average of what is granted per second. Time counts only while requests wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainMeter {
    requests_per_second: f64,
    tokens_per_second: f64,
    /// For how long it has been measured, in milliseconds, up to the time constant.
    measured_ms: f64,
    /// When the current sample began; `None` while nothing waits.
    since_ms: Option<u64>,
    /// What was granted in the current sample.
    requests: u64,
    tokens: u64,
}

impl DrainMeter {
    /// Goes on from what an earlier owner measured.
    pub(super) fn inherited(rate: DrainRate) -> Self {
        let measured_ms = if rate == DrainRate::default() { 0.0 } else { TIME_CONSTANT_MS };
        Self {
            requests_per_second: rate.requests_per_second(),
            tokens_per_second: rate.tokens_per_second as f64,
            measured_ms,
            ..Self::default()
        }
    }

    /// Records that so many requests were granted, with so many tokens in all.
    pub(super) fn record(&mut self, requests: u64, tokens: u64) {
        self.requests += requests;
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// Ends a sample at `now_ms` and returns the average. `waits` says whether requests wait now.
    pub(super) fn sample(&mut self, now_ms: u64, waits: bool) -> DrainRate {
        let passed_ms = self.since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)) as f64;
        let (requests, tokens) = (self.requests as f64, self.tokens as f64);
        if passed_ms > 0.0 {
            self.measured_ms = (self.measured_ms + passed_ms).min(TIME_CONSTANT_MS);
            // At first the plain average, which has no value of before.
            let weight =
                (1.0 - (-passed_ms / TIME_CONSTANT_MS).exp()).max(passed_ms / self.measured_ms).min(1.0);
            self.requests_per_second += weight * (requests * 1e3 / passed_ms - self.requests_per_second);
            self.tokens_per_second += weight * (tokens * 1e3 / passed_ms - self.tokens_per_second);
        }
        // What was granted before a sample began does not count.
        (self.requests, self.tokens) = (0, 0);
        self.since_ms = waits.then_some(now_ms);
        DrainRate {
            milli_requests_per_second: (self.requests_per_second * 1e3) as u64,
            tokens_per_second: self.tokens_per_second as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grants so many requests of 100 tokens every 100 ms for so many seconds.
    fn run(meter: &mut DrainMeter, now_ms: &mut u64, requests: u64, seconds: u64) -> DrainRate {
        let mut rate = DrainRate::default();
        for _ in 0..10 * seconds {
            *now_ms += 100;
            meter.record(requests, 100 * requests);
            rate = meter.sample(*now_ms, true);
        }
        rate
    }

    #[test]
    fn rate_is_known_at_once_and_follows() {
        let (mut meter, mut now_ms) = (DrainMeter::default(), 1_000);
        meter.sample(now_ms, true);
        let near = |expected: f64, rate: DrainRate| {
            let (requests, tokens) = (rate.requests_per_second(), rate.tokens_per_second as f64);
            assert!((requests / expected - 1.0).abs() < 0.02, "{rate:?}");
            assert!((tokens / expected / 100.0 - 1.0).abs() < 0.02, "{rate:?}");
        };
        near(50.0, run(&mut meter, &mut now_ms, 5, 1));
        near(20.0, run(&mut meter, &mut now_ms, 2, 30));
    }

    #[test]
    fn time_without_waiting_requests_does_not_count() {
        let (mut meter, mut now_ms) = (DrainMeter::default(), 1_000);
        meter.sample(now_ms, true);
        let before = run(&mut meter, &mut now_ms, 5, 2);
        meter.sample(now_ms, false);
        assert_eq!(before, meter.sample(now_ms + 3_600_000, true));
        assert_eq!(before, DrainMeter::inherited(before).sample(7, true));
    }
}
