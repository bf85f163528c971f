//! Whether a pool is idle for certain.

use crate::observation::Observation;
use crate::signal::Coverage;

/// Tells since when a pool has been idle for certain.
#[derive(Debug, Default)]
pub(crate) struct Idleness {
    since_ms: Option<u64>,
    /// Whether earlier owners have found the pool idle for long enough, and nothing has happened since; `None` if none has said.
    inherited: Option<bool>,
}

impl Idleness {
    /// Takes over whether an earlier owner has found the pool idle for long enough. What is known of earlier owners may be
    /// of different ages: the pool is idle only if all say so.
    pub(crate) fn inherit(&mut self, is_idle: bool) {
        self.inherited = Some(is_idle && self.inherited.unwrap_or(true));
    }

    /// Records what is observed. `has_work` says whether requests have arrived or were served since the last time.
    ///
    /// Returns for how long the pool has been idle, in milliseconds; `None` if it is not idle, or not for certain: then it is as if
    /// something had happened now. A pool that an earlier owner found idle is so until something happens.
    pub(crate) fn record(
        &mut self,
        observation: &Observation,
        coverage: Coverage,
        has_work: bool,
    ) -> Option<u64> {
        let in_flight: u64 = observation.pods.iter().map(|pod| pod.requests_in_flight).sum();
        if in_flight > 0 || observation.queue.requests > 0 || has_work {
            *self = Self::default();
            return None;
        }
        // A request of a replica that is not heard is seen at the pod that serves it, if that is.
        if coverage.epp_replicas_percent < 100 || coverage.pods_percent < 100 {
            self.since_ms = None;
        } else {
            self.since_ms.get_or_insert(observation.now_ms);
        }
        let idle_ms = self.since_ms.map(|since_ms| observation.now_ms.saturating_sub(since_ms));
        if self.inherited == Some(true) { Some(u64::MAX) } else { idle_ms }
    }
}
