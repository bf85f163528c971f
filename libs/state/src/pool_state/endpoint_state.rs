//! The state of one endpoint, except for the blocks that it holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{EndpointKey, EndpointSpec, Load, Origin};

use super::adapter_residency::AdapterResidency;
use super::assessment::Assessment;
use super::cache_accuracy::CacheAccuracy;
use super::digest::{self, Digest};
use super::loads::Loads;
use super::observed::Observed;

/// So many loads are added in less time than it takes to subtract one from the sum of all.
const FEW_ORIGINS: usize = 4;

/// The state of one endpoint, except for the blocks that it holds.
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
    /// The load that each replica put on the endpoint.
    pub loads: Loads,
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
            loads: Loads::default(),
            cold_placement_seq: 0,
            cache_accuracy: CacheAccuracy::default(),
        }
    }

    /// Returns the load that `origin` put on the endpoint.
    pub fn load_of(&self, origin: Origin) -> Load {
        self.loads.of(origin)
    }

    /// Returns the load that all replicas except `origin` put on the endpoint.
    pub fn load_without(&self, origin: Origin) -> Load {
        let loads = self.loads.entries();
        if loads.len() <= FEW_ORIGINS {
            let others = loads.iter().filter(|(of, _)| *of != origin);
            return others.fold(Load::ZERO, |sum, (_, load)| sum + *load);
        }
        self.loads.sum_without(origin)
    }

    /// Returns the load that all replicas put on the endpoint.
    pub fn load(&self) -> Load {
        self.loads.sum()
    }

    pub(super) fn digest(&self) -> Digest {
        let adapters = digest::of_adapters(self.key, self.adapters.as_deref());
        let loads =
            self.loads.entries().iter().map(|(origin, load)| digest::of_load(self.key, *origin, *load));
        Digest {
            specs: digest::of_spec(&self.spec),
            observed: digest::of_observed(self.key, &self.observed)
                .wrapping_add(digest::of_assessment(self.key, &self.assessment))
                .wrapping_add(adapters),
            loads: loads.fold(0, u64::wrapping_add),
            placements: digest::of_cold(self.key, self.cold_placement_seq),
            models: 0,
            usage: digest::of_cache_accuracy(self.key, &self.cache_accuracy),
        }
    }
}
