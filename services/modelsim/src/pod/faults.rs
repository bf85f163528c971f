//! Injected faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;
use crate::seeded_random;

/// Maximum injected latency: ten minutes.
const MAX_LATENCY_MS: u64 = 600_000;

/// The faults of a pod; the default is none. In JSON every field is optional and unknown fields are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Wall-clock delay before an inference request is processed, independent of the pod's speed.
    pub latency_ms: u64,
    /// Share of inference requests that fail with status 500, 0 to 1.
    pub error_rate: f64,
    /// Behavior of the metrics page.
    pub metrics: MetricsFault,
    /// Behavior of the engine.
    pub engine: EngineFault,
    /// KV usage on the metrics page in place of the real one, 0 to 1.
    pub kv_usage: Option<f64>,
    /// Number of waiting requests on the metrics page in place of the real one.
    pub waiting: Option<u32>,
    /// Whether the health page responds with status 503. Inference requests are served all the same.
    pub unhealthy: bool,
}

/// Behavior of the metrics page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsFault {
    /// Shows the real values, or the overrides.
    #[default]
    Normal,
    /// Accepts the request and never responds.
    Stalled,
    /// Responds with the values from when the fault was set.
    Frozen,
    /// Responds with something other than a metrics page.
    Garbage,
    /// Responds with a page that never ends.
    Endless,
}

/// Behavior of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineFault {
    /// Works.
    #[default]
    Normal,
    /// Accepts requests and answers scrapes but makes no progress: no pass ends, no token is produced. The
    /// engine's time is paused, so that it continues where it was when the fault is cleared.
    Wedged,
}

/// A fault value that is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A share outside 0 to 1.
    #[error("{field} must be between 0 and 1")]
    ShareOutOfRange {
        /// Name of the field.
        field: &'static str,
    },
    /// A delay that is longer than any test waits.
    #[error("latency_ms must be at most {MAX_LATENCY_MS}")]
    LatencyTooLong,
}

impl Faults {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Returns the first field that is out of range.
    pub fn validate(&self) -> Result<(), FaultsError> {
        let shares = [("error_rate", self.error_rate), ("kv_usage", self.kv_usage.unwrap_or(0.0))];
        for (field, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(FaultsError::ShareOutOfRange { field });
            }
        }
        if self.latency_ms > MAX_LATENCY_MS { Err(FaultsError::LatencyTooLong) } else { Ok(()) }
    }
}

/// The effect of the current faults on one inference request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InferenceFault {
    pub(crate) delay: Duration,
    pub(crate) outcome: FaultOutcome,
}

/// Whether an inference request is served or fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultOutcome {
    Serve,
    Fail,
}

#[derive(Default)]
struct ActiveFaults {
    faults: Faults,
    /// The values to show while the metrics page is frozen.
    frozen: Option<Snapshot>,
}

/// Injects the faults of one pod.
pub(crate) struct FaultInjector {
    active: Mutex<ActiveFaults>,
    seed: u64,
    draws: AtomicU64,
    errors: AtomicU64,
}

impl FaultInjector {
    pub(crate) fn new(seed: u64) -> Self {
        Self { active: Mutex::default(), seed, draws: AtomicU64::new(0), errors: AtomicU64::new(0) }
    }

    /// Returns the current faults.
    pub(crate) fn faults(&self) -> Faults {
        self.active().faults
    }

    /// Replaces all faults; a frozen metrics page will show `current`.
    pub(crate) fn set(&self, faults: Faults, current: Snapshot) -> Result<(), FaultsError> {
        faults.validate()?;
        let frozen = (faults.metrics == MetricsFault::Frozen).then_some(current);
        *self.active() = ActiveFaults { faults, frozen };
        Ok(())
    }

    /// Returns the snapshot for the metrics page: the frozen one, if any, otherwise `current`.
    pub(crate) fn reported_snapshot(&self, current: Snapshot) -> Snapshot {
        self.active().frozen.clone().unwrap_or(current)
    }

    /// Draws the fault for the next inference request.
    pub(crate) fn next_inference_fault(&self) -> InferenceFault {
        let faults = self.faults();
        let draw = seeded_random::unit(self.seed, self.draws.fetch_add(1, Ordering::Relaxed));
        let outcome = if draw < faults.error_rate { FaultOutcome::Fail } else { FaultOutcome::Serve };
        if outcome == FaultOutcome::Fail {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        InferenceFault { delay: Duration::from_millis(faults.latency_ms), outcome }
    }

    /// Returns how many inference requests failed because of the error rate.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    fn active(&self) -> MutexGuard<'_, ActiveFaults> {
        // Every write replaces the whole value, so the value behind a poisoned lock is still consistent.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{FaultInjector, FaultOutcome, Faults, FaultsError};
    use crate::pod::snapshot::Snapshot;

    #[test]
    fn failures_follow_the_error_rate() {
        let injector = FaultInjector::new(3);
        injector.set(Faults { error_rate: 0.25, ..Faults::default() }, Snapshot::default()).unwrap();
        let failed =
            (0..4_000).filter(|_| injector.next_inference_fault().outcome == FaultOutcome::Fail).count();
        assert!((900..1_100).contains(&failed), "{failed}");
        assert_eq!(failed as u64, injector.errors());
    }

    #[test]
    fn out_of_range_values_are_rejected() {
        let wrong = Faults { kv_usage: Some(1.5), ..Faults::default() };
        assert_eq!(wrong.validate(), Err(FaultsError::ShareOutOfRange { field: "kv_usage" }));
        assert!(Faults { error_rate: f64::NAN, ..Faults::default() }.validate().is_err());
    }
}
