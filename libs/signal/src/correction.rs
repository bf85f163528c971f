//! Corrects what pods are thought to be capable of when backlogs show that they are not.

/// For how long all replicas must have been there with a backlog, in milliseconds, before that shows a lack of capacity.
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
    /// Since when there has been a backlog although all replicas were there.
    backlog_since_ms: Option<u64>,
}

impl Default for Correction {
    fn default() -> Self {
        Self { factor: 1.0, last_ms: None, backlog_since_ms: None }
    }
}

impl Correction {
    /// Records whether there is a backlog although all desired replicas serve.
    pub(crate) fn record(&mut self, now_ms: u64, has_unexplained_backlog: bool) {
        let elapsed_s = now_ms.saturating_sub(self.last_ms.replace(now_ms).unwrap_or(now_ms)) as f64 / 1e3;
        if !has_unexplained_backlog {
            self.backlog_since_ms = None;
            self.factor = (self.factor - DECAY_PER_S * elapsed_s).max(1.0);
            return;
        }
        let since_ms = *self.backlog_since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) >= PATIENCE_MS {
            self.factor = (self.factor + GROWTH_PER_S * elapsed_s).min(MAX);
        }
    }

    pub(crate) fn factor(&self) -> f64 {
        self.factor
    }
}
