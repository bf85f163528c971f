//! Corrects what pods are thought to be capable of when backlogs show that they are not.

/// For how long a backlog must not have fallen although all replicas were there, in milliseconds, before that shows a lack of
/// capacity.
const PATIENCE_MS: u64 = 30_000;

/// By which factor the correction grows per second while there is a backlog, and falls while there is none.
const GROWTH_PER_S: f64 = 0.004;
const DECAY_PER_S: f64 = 0.000_03;

/// The highest correction.
const MAX: f64 = 2.0;

/// By which factor the pods can do less than was measured.
#[derive(Debug)]
pub(crate) struct Correction {
    factor: f64,
    last_ms: Option<u64>,
    /// The least backlog since all replicas have been there, in replica-seconds, and since when it has been so.
    least: Option<(f64, u64)>,
}

impl Default for Correction {
    fn default() -> Self {
        Self { factor: 1.0, last_ms: None, least: None }
    }
}

impl Correction {
    /// Records the backlog that there is although all desired replicas serve, in replica-seconds; `None` if there is none. Returns
    /// whether it shows a lack: one that falls is being worked off.
    pub(crate) fn record(&mut self, now_ms: u64, unexplained_s: Option<f64>) -> bool {
        let elapsed_s = now_ms.saturating_sub(self.last_ms.replace(now_ms).unwrap_or(now_ms)) as f64 / 1e3;
        let Some(backlog_s) = unexplained_s else {
            self.least = None;
            self.factor = (self.factor - DECAY_PER_S * elapsed_s).max(1.0);
            return false;
        };
        let (_, since_ms) = *self.least.insert(match self.least {
            Some(least) if least.0 <= backlog_s => least,
            _ => (backlog_s, now_ms),
        });
        let is_lack = now_ms.saturating_sub(since_ms) >= PATIENCE_MS;
        if is_lack {
            self.factor = (self.factor + GROWTH_PER_S * elapsed_s).min(MAX);
        }
        is_lack
    }

    pub(crate) fn factor(&self) -> f64 {
        self.factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor_after_two_minutes(backlog_s: impl Fn(u64) -> Option<f64>) -> f64 {
        let mut correction = Correction::default();
        for second in 0..120 {
            correction.record(second * 1_000, backlog_s(second));
        }
        correction.factor()
    }

    #[test]
    fn only_a_backlog_that_does_not_fall_shows_a_lack() {
        assert_eq!(1.0, factor_after_two_minutes(|_| None));
        assert_eq!(1.0, factor_after_two_minutes(|second| Some(400.0 - 3.0 * second as f64)));
        assert!(factor_after_two_minutes(|_| Some(400.0)) > 1.3);
        assert!(factor_after_two_minutes(|second| Some(400.0 + second as f64)) > 1.3);
    }
}
