//! The state of one endpoint, except for the blocks that it holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{EndpointKey, EndpointSpec, Load, Origin};
use smallvec::SmallVec;

use super::adapter_residency::AdapterResidency;
use super::assessment::Assessment;
use super::cache_accuracy::CacheAccuracy;
use super::digest::{self, Digest};
use super::observed::Observed;

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
    /// The load that each replica put on the endpoint, ordered by origin. No entry is zero.
    pub loads: SmallVec<[(Origin, Load); 4]>,
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
            loads: SmallVec::new(),
            cold_placement_seq: 0,
            cache_accuracy: CacheAccuracy::default(),
        }
    }

    /// Returns the load that `origin` put on the endpoint.
    pub fn load_of(&self, origin: Origin) -> Load {
        self.loads.iter().find(|(of, _)| *of == origin).map_or(Load::ZERO, |(_, load)| *load)
    }

    /// Returns the load that all replicas except `origin` put on the endpoint.
    pub fn load_without(&self, origin: Origin) -> Load {
        let others = self.loads.iter().filter(|(of, _)| *of != origin);
        others.fold(Load::ZERO, |sum, (_, load)| sum + *load)
    }

    /// Returns the load that all replicas put on the endpoint.
    pub fn load(&self) -> Load {
        self.loads.iter().fold(Load::ZERO, |sum, (_, load)| sum + *load)
    }

    /// Sets the load of `origin` and returns the one before.
    pub(super) fn set_load(&mut self, origin: Origin, load: Load) -> Load {
        let at = self.loads.binary_search_by_key(&origin, |(of, _)| *of);
        match (at, load == Load::ZERO) {
            (Ok(at), true) => return self.loads.remove(at).1,
            (Ok(at), false) => return std::mem::replace(&mut self.loads[at].1, load),
            (Err(_), true) => {}
            (Err(at), false) => self.loads.insert(at, (origin, load)),
        }
        Load::ZERO
    }

    pub(super) fn digest(&self) -> Digest {
        let adapters = digest::of_adapters(self.key, self.adapters.as_deref());
        let loads = self.loads.iter().map(|(origin, load)| digest::of_load(self.key, *origin, *load));
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
