//! Classes of endpoints by health and room.

use serde::{Deserialize, Serialize};
use signalbox_state::EndpointState;

use super::settings::LeastTime;
use crate::decision_inputs::DecisionInputs;
use crate::endpoint_health::EndpointHealth;

/// A class of endpoints. An endpoint of a worse tier is chosen only when every better tier is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The endpoint's values are fresh and it has room, or it is so new that it was not scraped yet.
    Open,
    /// The endpoint's values are fresh, its KV cache is full and requests are waiting.
    Full,
    /// The endpoint's values are no longer fresh.
    Stale,
    /// The endpoint keeps refusing requests for this model.
    Refusing,
    /// Requests to the endpoint keep failing.
    Failing,
    /// The engine sleeps. Even a failing endpoint is more likely to answer: it need not be woken up.
    Asleep,
    /// Nothing listens at the endpoint's address, as far as its collector can see.
    Down,
}

impl Tier {
    /// Returns the tier of `endpoint`.
    pub(super) fn of(inputs: &DecisionInputs<'_>, settings: &LeastTime, endpoint: &EndpointState) -> Self {
        let gauges = endpoint.observed.gauges;
        let is_full =
            gauges.waiting > 0 && gauges.kv_used_ppm.is_some_and(|used| used >= settings.full_kv_ppm);
        match inputs.health_of(endpoint) {
            EndpointHealth::Healthy if is_full => Self::Full,
            EndpointHealth::Healthy => Self::Open,
            EndpointHealth::Stale => Self::Stale,
            EndpointHealth::Refusing => Self::Refusing,
            EndpointHealth::Failing => Self::Failing,
            EndpointHealth::Asleep => Self::Asleep,
            EndpointHealth::Down => Self::Down,
        }
    }
}
