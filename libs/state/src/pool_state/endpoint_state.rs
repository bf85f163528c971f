//! The state of one endpoint, except for the blocks that it holds and for its load.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{EndpointKey, EndpointSpec};

use super::adapter_residency::AdapterResidency;
use super::assessment::Assessment;
use super::cache_accuracy::CacheAccuracy;
use super::digest::{self, Digest};
use super::observed::Observed;

/// The state of one endpoint, except for the blocks that it holds and for its load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    /// The key of the endpoint.
    pub key: EndpointKey,
    /// The specification of the endpoint.
    pub spec: Arc<EndpointSpec>,
    /// The values measured by collectors.
    pub observed: Observed,
    /// The owner's assessment.
    pub assessment: Assessment,
    /// Where the LoRA adapters are; `None` if the engine does not report any.
    pub adapters: Option<Arc<AdapterResidency>>,
    /// The number of the change that last placed a prompt of which the pool knew no block; 0 if there was
    /// none.
    pub cold_placement_seq: u64,
    /// How well the blocks that the endpoint is believed to hold match its engine's reports.
    #[serde(default, skip_serializing_if = "CacheAccuracy::is_default")]
    pub cache_accuracy: CacheAccuracy,
}

impl EndpointState {
    /// Returns the state of an endpoint without measurements.
    pub fn new(spec: Arc<EndpointSpec>) -> Self {
        let observed = Observed::default();
        let assessment = Assessment::default();
        Self {
            key: spec.key(),
            spec,
            observed,
            assessment,
            adapters: None,
            cold_placement_seq: 0,
            cache_accuracy: CacheAccuracy::default(),
        }
    }

    pub(super) fn digest(&self) -> Digest {
        let adapters = digest::of_adapters(self.key, self.adapters.as_deref());
        Digest {
            specs: digest::of_spec(&self.spec),
            observed: digest::of_observed(self.key, &self.observed)
                .wrapping_add(digest::of_assessment(self.key, &self.assessment))
                .wrapping_add(adapters),
            loads: 0,
            placements: digest::of_cold(self.key, self.cold_placement_seq),
            models: 0,
            usage: digest::of_cache_accuracy(self.key, &self.cache_accuracy),
            flows: 0,
            responses: 0,
            outputs: 0,
            revocable: 0,
        }
    }
}
