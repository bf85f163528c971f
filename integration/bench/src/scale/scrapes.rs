//! What Prometheus knows of a pool: values of the last scrape, not of now.

use std::collections::VecDeque;

/// How often Prometheus scrapes, and evaluates its rules, in seconds.
pub(super) const SCRAPE_S: u64 = 15;

/// How long after the autoscaler's reading it scrapes, in seconds: neither waits for the other.
const PHASE_S: u64 = 7;

/// The windows of the latency rules, in seconds: of the quantile, and of the average.
const QUANTILE_WINDOW_S: f64 = 60.0;
const AVERAGE_WINDOW_S: f64 = 45.0;

/// The most that one sample counts.
const CLAMP: f64 = 2.0;

/// The goals of the latency rules: the time to the first token, and per output token, in seconds.
pub(super) const TTFT_GOAL_S: f64 = 2.0;
const TPOT_GOAL_S: f64 = 0.1;

/// The values of one scrape.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    /// Requests that wait in flow control.
    pub(super) queue: f64,
    /// Requests that were sent to pods and have not ended.
    pub(super) running: f64,
    /// Prompt tokens of those without a first token.
    pub(super) prefill_tokens: f64,
    /// The sum of the used parts of the KV caches.
    pub(super) kv_use: f64,
    /// The replicas of the Deployment, and those that are ready.
    pub(super) replicas: f64,
    pub(super) ready: f64,
}

/// Prometheus.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    pub(super) last: Values,
    /// Times to the first token and per output token, with the time at which they were seen.
    first: VecDeque<(f64, f64)>,
    per_token: VecDeque<(f64, f64)>,
    /// Results of the latency rule.
    saturation: VecDeque<(f64, f64)>,
}

impl Scrapes {
    /// Records a first token.
    pub(super) fn first_token(&mut self, now_s: f64, ttft_s: f64) {
        self.first.push_back((now_s, ttft_s));
    }

    /// Records the end of a request.
    pub(super) fn ended(&mut self, now_s: f64, per_token_s: f64) {
        self.per_token.push_back((now_s, per_token_s));
    }

    /// Returns whether it scrapes at a second.
    pub(super) fn is_due(second: u64) -> bool {
        second % SCRAPE_S == PHASE_S
    }

    /// Scrapes, and evaluates the rules.
    pub(super) fn scrape(&mut self, now_s: f64, values: Values) {
        self.last = values;
        let ttft_s = p90(now_s, &mut self.first);
        let tpot_s = p90(now_s, &mut self.per_token);
        let raw = (ttft_s / TTFT_GOAL_S).max(tpot_s / TPOT_GOAL_S).min(CLAMP);
        self.saturation.push_back((now_s, raw));
        drop_before(now_s - AVERAGE_WINDOW_S, &mut self.saturation);
    }

    /// Returns the latency in parts of the goal: the clamped 90th percentile, averaged.
    pub(super) fn latency(&self) -> f64 {
        let sum: f64 = self.saturation.iter().map(|(_, raw)| raw).sum();
        sum / self.saturation.len().max(1) as f64
    }
}

/// Returns the 90th percentile of the last minute; 0 without values.
fn p90(now_s: f64, seen: &mut VecDeque<(f64, f64)>) -> f64 {
    drop_before(now_s - QUANTILE_WINDOW_S, seen);
    let mut values: Vec<f64> = seen.iter().map(|(_, value)| *value).collect();
    if values.is_empty() {
        return 0.0;
    }
    let at = (values.len() * 9 / 10).min(values.len() - 1);
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

fn drop_before(at_s: f64, seen: &mut VecDeque<(f64, f64)>) {
    while seen.front().is_some_and(|(seen_s, _)| *seen_s <= at_s) {
        seen.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_the_clamped_tail_on_average() {
        let mut scrapes = Scrapes::default();
        (0..100).for_each(|at| scrapes.first_token(1.0, f64::from(at) / 100.0));
        scrapes.scrape(15.0, Values::default());
        assert!((scrapes.latency() - 0.45).abs() < 1e-9, "{}", scrapes.latency());
        (0..100).for_each(|_| scrapes.first_token(29.0, 60.0));
        scrapes.scrape(30.0, Values::default());
        assert!((scrapes.latency() - (0.45 + CLAMP) / 2.0).abs() < 1e-9, "{}", scrapes.latency());
        scrapes.scrape(200.0, Values::default());
        assert_eq!(0.0, scrapes.latency(), "an idle pool has no latency");
    }
}
