//! Misbehaviour on demand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pod::Snapshot;
use crate::seeded;

/// The longest extra latency that can be asked for: ten minutes.
const MAX_LATENCY_MS: u64 = 600_000;

/// What is wrong with a pod. The default is nothing. As JSON: every field optional, unknown ones refused.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Wall-clock delay before an inference request is looked at, whatever the pod's speed.
    pub latency_ms: u64,
    /// Share of inference requests answered with status 500, 0 to 1.
    pub error_rate: f64,
    /// What the metrics page does.
    pub metrics: MetricsFault,
    /// What the engine does.
    pub engine: EngineFault,
    /// KV usage on the metrics page instead of the real one, 0 to 1.
    pub kv_usage: Option<f64>,
    /// Waiting requests on the metrics page instead of the real number.
    pub waiting: Option<u32>,
}

/// What the metrics page does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsFault {
    /// Shows the truth (or the overrides).
    #[default]
    Normal,
    /// Accepts the request and never answers.
    Stalled,
    /// Answers, but with the values from when the fault was set.
    Frozen,
    /// Answers with something that is no metrics page.
    Garbage,
    /// Answers with a page that never ends.
    Endless,
}

/// What the engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineFault {
    /// Works.
    #[default]
    Normal,
    /// Takes requests and answers scrapes, and gets no further: no pass ends, no token comes. Its time stands still, so that it goes
    /// on where it was once the fault is gone.
    Wedged,
}

/// A fault that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A share outside 0 to 1.
    #[error("{field} must be between 0 and 1")]
    NotAShare {
        /// The field's name.
        field: &'static str,
    },
    /// A delay longer than any test waits.
    #[error("latency_ms must be at most {MAX_LATENCY_MS}")]
    LatencyTooLong,
}

impl Faults {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), FaultsError> {
        let shares = [("error_rate", self.error_rate), ("kv_usage", self.kv_usage.unwrap_or(0.0))];
        for (field, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(FaultsError::NotAShare { field });
            }
        }
        if self.latency_ms > MAX_LATENCY_MS { Err(FaultsError::LatencyTooLong) } else { Ok(()) }
    }
}

/// How an inference request starts under the present faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disturbance {
    pub(crate) delay: Duration,
    pub(crate) verdict: Verdict,
}

/// Whether an inference request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Serve,
    Fail,
}

#[derive(Default)]
struct Present {
    faults: Faults,
    /// Set while the metrics page is frozen.
    frozen: Option<Snapshot>,
}

/// The faults of one pod.
pub(crate) struct FaultSwitch {
    present: Mutex<Present>,
    seed: u64,
    draws: AtomicU64,
}

impl FaultSwitch {
    pub(crate) fn new(seed: u64) -> Self {
        Self { present: Mutex::default(), seed, draws: AtomicU64::new(0) }
    }

    pub(crate) fn faults(&self) -> Faults {
        self.present().faults
    }

    /// Replaces all faults; `now` is what a frozen metrics page will show.
    pub(crate) fn set(&self, faults: Faults, now: Snapshot) -> Result<(), FaultsError> {
        faults.validate()?;
        let frozen = (faults.metrics == MetricsFault::Frozen).then_some(now);
        *self.present() = Present { faults, frozen };
        Ok(())
    }

    /// The reading the metrics page shows in place of `now`.
    pub(crate) fn shown(&self, now: Snapshot) -> Snapshot {
        self.present().frozen.clone().unwrap_or(now)
    }

    /// Decides about the next inference request.
    pub(crate) fn disturb(&self) -> Disturbance {
        let faults = self.faults();
        let draw = seeded::unit(self.seed, self.draws.fetch_add(1, Ordering::Relaxed));
        let verdict = if draw < faults.error_rate { Verdict::Fail } else { Verdict::Serve };
        Disturbance { delay: Duration::from_millis(faults.latency_ms), verdict }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        // Every write replaces the whole value, so a poisoned lock still guards a whole one.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{FaultSwitch, Faults, FaultsError, Verdict};
    use crate::pod::Snapshot;

    #[test]
    fn the_error_rate_is_kept() {
        let switch = FaultSwitch::new(3);
        switch.set(Faults { error_rate: 0.25, ..Faults::default() }, Snapshot::default()).unwrap();
        let failed = (0..4_000).filter(|_| switch.disturb().verdict == Verdict::Fail).count();
        assert!((900..1_100).contains(&failed), "{failed}");
    }

    #[test]
    fn ranges_are_checked() {
        let wrong = Faults { kv_usage: Some(1.5), ..Faults::default() };
        assert_eq!(wrong.validate(), Err(FaultsError::NotAShare { field: "kv_usage" }));
        assert!(Faults { error_rate: f64::NAN, ..Faults::default() }.validate().is_err());
    }
}
