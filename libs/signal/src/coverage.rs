//! How much of a pool is known.

use crate::observation::{Observation, PodState};
use crate::signal::{Certainty, Coverage};

/// Pods with current metrics, in percent, from which on enough is known, and from which on a part is.
const COMPLETE_PERCENT: u8 = 90;
const PARTIAL_PERCENT: u8 = 50;

/// For how long after an EPP replica was lost its requests may be on their way to others, in milliseconds.
const LOSS_MS: u64 = 60_000;

/// Tells how much of a pool is known.
#[derive(Debug, Default)]
pub(crate) struct CoverageMeter {
    origins: Vec<u64>,
    lost_ms: Option<u64>,
}

impl CoverageMeter {
    /// Returns how much is known of what is observed now.
    pub(crate) fn assess(&mut self, observation: &Observation) -> (Coverage, Certainty) {
        let now: Vec<u64> = observation.epp_replicas.iter().map(|replica| replica.origin).collect();
        if self.origins.iter().any(|origin| !now.contains(origin)) {
            self.lost_ms = Some(observation.now_ms);
        }
        self.origins = now;
        let coverage = coverage(observation);
        let was_lost = self.lost_ms.is_some_and(|at_ms| observation.now_ms.saturating_sub(at_ms) < LOSS_MS);
        let Coverage { pods_percent, epp_replicas_percent } = coverage;
        let certainty = if pods_percent < PARTIAL_PERCENT || epp_replicas_percent < PARTIAL_PERCENT {
            Certainty::Insufficient
        } else if pods_percent < COMPLETE_PERCENT || epp_replicas_percent < 100 || was_lost {
            Certainty::Partial
        } else {
            Certainty::Complete
        };
        (coverage, certainty)
    }
}

/// Returns the part of the pods and EPP replicas that is known. Pods that are known not to serve are known. A pool without pods is
/// known completely, one without EPP replicas not at all.
fn coverage(observation: &Observation) -> Coverage {
    let pods = observation.pods.iter().filter(|pod| pod.state != PodState::Draining);
    let (mut known, mut all) = (0, 0);
    for pod in pods {
        all += 1;
        known += usize::from(pod.state != PodState::Stale);
    }
    let heard = observation.epp_replicas.iter().filter(|replica| replica.is_heard).count();
    Coverage {
        pods_percent: percent(known, all).unwrap_or(100),
        epp_replicas_percent: percent(heard, observation.epp_replicas.len()).unwrap_or(0),
    }
}

fn percent(part: usize, all: usize) -> Option<u8> {
    (part * 100).checked_div(all).map(|percent| percent as u8)
}
