//! Load metrics of endpoints, as filters and scorers use them.

use serde::{Deserialize, Serialize};
use signalbox_state::ScrapeStatus;
use signalbox_types::PPM;

use crate::decision_inputs::DecisionInputs;

/// A load metric of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Requests in flight that replicas have booked.
    ActiveRequests,
    /// Running requests that the engine reports.
    RunningRequests,
    /// Waiting requests that the engine reports.
    WaitingQueue,
    /// Share of the KV cache in use that the engine reports, 0 to 1.
    KvCacheUtilization,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 4] =
        [Self::ActiveRequests, Self::RunningRequests, Self::WaitingQueue, Self::KvCacheUtilization];

    /// Returns the name in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActiveRequests => "active-requests",
            Self::RunningRequests => "running-requests",
            Self::WaitingQueue => "waiting-queue",
            Self::KvCacheUtilization => "kv-cache-utilization",
        }
    }

    /// Returns the value for the endpoint at `position`; `None` if the engine does not report it, or was not
    /// scraped yet.
    pub(super) fn value(self, inputs: &DecisionInputs<'_>, position: usize) -> Option<f64> {
        if self == Self::ActiveRequests {
            return Some(f64::from(inputs.load(position).requests));
        }
        let observed = &inputs.endpoint(position).observed;
        if observed.scrape_status == ScrapeStatus::Unknown {
            return None;
        }
        match self {
            Self::RunningRequests => observed.gauges.running.map(f64::from),
            Self::KvCacheUtilization => {
                observed.gauges.kv_used_ppm.map(|used| f64::from(used) / f64::from(PPM))
            }
            Self::ActiveRequests | Self::WaitingQueue => Some(f64::from(observed.gauges.waiting)),
        }
    }
}
