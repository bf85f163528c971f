//! Whether a pool is idle for certain.

use crate::observation::Observation;
use crate::signal::Coverage;

/// Tells since when a pool has been idle for certain.
#[derive(Debug, Default)]
pub(crate) struct Idleness {
    since_ms: Option<u64>,
}

impl Idleness {
    /// Records what is observed, and returns for how long the pool has been idle, in milliseconds; `None` if it is not idle,
    /// or not for certain: then it is as if something had happened now.
    pub(crate) fn record(
        &mut self,
        observation: &Observation,
        coverage: Coverage,
        has_arrivals: bool,
    ) -> Option<u64> {
        let in_flight: u64 = observation.pods.iter().map(|pod| pod.requests_in_flight).sum();
        let is_idle = coverage.replicas_percent == 100
            && in_flight == 0
            && observation.queue.requests == 0
            && !has_arrivals;
        if !is_idle {
            self.since_ms = None;
            return None;
        }
        let since_ms = *self.since_ms.get_or_insert(observation.now_ms);
        Some(observation.now_ms.saturating_sub(since_ms))
    }
}
