//! The replicated state of a pool, which is the same at its owner and at all followers.

mod acknowledgements;
mod adapter_residency;
mod assessment;
mod cache_accuracy;
mod capture;
mod change;
mod digest;
mod endpoint_list;
mod endpoint_state;
mod endpoint_use;
mod flow_changes;
mod flow_table;
mod learned_from_usage;
mod live_loads;
mod load_table;
mod observed;
mod provisional;
mod read_ahead;
mod signalled;
mod stored_responses;

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_prefix::{IndexError, IndexWriter, Run};
use signalbox_signal::Signal;
use signalbox_types::{BlockHash, EndpointKey, EndpointSpec, Load, ModelKey, Models, Origin, TokenRatio};
use thiserror::Error;

pub use self::adapter_residency::{AdapterLocation, AdapterResidency};
pub use self::assessment::{Assessment, Circuit, ModelCircuit};
pub use self::cache_accuracy::CacheAccuracy;
pub use self::change::Change;
pub use self::digest::Digest;
pub use self::endpoint_list::EndpointList;
pub use self::endpoint_state::EndpointState;
pub use self::endpoint_use::{FULL_KV_PPM, UNBOOKED_PROMPT_TOKENS};
pub use self::flow_table::{DrainRate, FlowChange, FlowMeasures, FlowPart, FlowTable, OriginFlows};
pub(crate) use self::live_loads::LiveLoads;
pub use self::load_table::LoadTable;
pub(crate) use self::observed::is_restart;
pub use self::observed::{Observed, ScrapeStatus};
pub use self::stored_responses::StoredResponses;

/// A change does not match the state that it is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Diverged {
    /// The change names an endpoint that the state does not contain.
    #[error("change for the unknown endpoint {0}")]
    UnknownEndpoint(EndpointKey),
    /// The change acknowledges fewer placements of an origin than an earlier one.
    #[error("acknowledged placement number of origin {0} decreases")]
    AcknowledgementDecreased(Origin),
    /// The change does not match the blocks that the endpoints hold.
    #[error("change does not match the blocks held: {0}")]
    Blocks(IndexError),
}

/// The replicated state of a pool. The owner and its followers modify it only with [`PoolState::apply`].
#[derive(Debug, Default)]
pub struct PoolState {
    endpoints: EndpointList,
    /// Identifies the endpoints' specifications and adapters: replaced when any of them changes.
    descriptions: Arc<()>,
    loads: LoadTable,
    acknowledged: BTreeMap<Origin, u64>,
    index_writer: IndexWriter,
    models: Arc<Models>,
    token_ratios: Arc<BTreeMap<ModelKey, TokenRatio>>,
    flows: FlowTable,
    stored_responses: StoredResponses,
    /// The checksums over everything but the index, which has its own.
    digest: Digest,
    provisional_since: u64,
    signal: Option<Arc<Signal>>,
}

impl PoolState {
    /// Builds the state that a snapshot describes. Each endpoint comes with the load that each replica put on it.
    ///
    /// # Errors
    /// [`Diverged`] when the blocks are inconsistent.
    pub fn from_parts(
        endpoints: Vec<(EndpointState, Vec<(Origin, Load)>)>,
        runs: Vec<Run>,
        acknowledged: Vec<(Origin, u64)>,
        models: &Arc<Models>,
    ) -> Result<Self, Diverged> {
        let index_writer = IndexWriter::from_runs(runs).map_err(Diverged::Blocks)?;
        let mut pool_state = Self { index_writer, ..Self::default() };
        let mut by_key = BTreeMap::new();
        for (endpoint_state, loads) in endpoints {
            pool_state.digest.add(endpoint_state.digest());
            by_key.insert(endpoint_state.key, (Arc::new(endpoint_state), loads));
        }
        pool_state.endpoints =
            by_key.values().map(|(endpoint_state, _)| Arc::clone(endpoint_state)).collect();
        by_key.keys().for_each(|endpoint| pool_state.loads.add(*endpoint));
        for (endpoint, (_, loads)) in by_key {
            for (origin, load) in loads {
                pool_state.set_load(endpoint, origin, load)?;
            }
        }
        for (origin, number) in acknowledged {
            pool_state.acknowledge(origin, Some(number));
        }
        pool_state.set_models(models);
        Ok(pool_state)
    }

    /// Returns the endpoints, ordered by key.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &Arc<EndpointState>> {
        self.endpoints.iter()
    }

    /// Returns the list of the endpoints, which can be copied at no cost.
    pub fn endpoint_list(&self) -> &EndpointList {
        &self.endpoints
    }

    /// Returns the state of one endpoint.
    pub fn endpoint(&self, endpoint: EndpointKey) -> Option<&Arc<EndpointState>> {
        self.endpoints.get(endpoint)
    }

    /// Returns the load that each replica put on each endpoint.
    pub fn loads(&self) -> &LoadTable {
        &self.loads
    }

    /// Returns the load that each replica put on each endpoint, to tell it what time it is.
    pub(crate) fn loads_mut(&mut self) -> &mut LoadTable {
        &mut self.loads
    }

    /// Identifies the specifications and adapters of the endpoints: it is the same as long as none of them has changed.
    pub(crate) fn descriptions(&self) -> &Arc<()> {
        &self.descriptions
    }

    /// Returns the index of the blocks that the endpoints hold.
    pub fn index_writer(&self) -> &IndexWriter {
        &self.index_writer
    }

    /// Returns the endpoint that holds the least recently used of all placed blocks.
    pub(crate) fn least_recently_used_endpoint(&mut self) -> Option<EndpointKey> {
        self.index_writer.least_recently_used_endpoint()
    }

    /// Returns the objectives and model rewrites of the pool.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// Returns the checksums over the whole state.
    pub fn digest(&self) -> Digest {
        let placements = self.digest.placements.wrapping_add(self.index_writer.total_digest());
        Digest { placements, ..self.digest }
    }

    /// Applies the change with number `seq` in the pool's history.
    ///
    /// # Errors
    /// [`Diverged`] when the change does not match the state. The state must not be used after that.
    pub fn apply(&mut self, seq: u64, change: &Change) -> Result<(), Diverged> {
        match change {
            Change::EndpointSet { spec } => self.set_endpoint(spec),
            Change::EndpointRemoved { endpoint } => return self.remove_endpoint(*endpoint),
            Change::ModelsSet { models } => self.set_models(models),
            Change::Observed { endpoint, observed } => return self.observe(*endpoint, observed),
            Change::AdaptersChanged { endpoint, residency } => {
                return self.set_adapters(*endpoint, residency);
            }
            Change::Assessed { endpoint, assessment } => return self.assess(*endpoint, assessment),
            Change::LoadChanged { endpoint, origin, load } => {
                return self.set_load(*endpoint, *origin, *load);
            }
            Change::OriginExpired { origin } => self.expire(*origin),
            Change::Placed { endpoint, anchor, suffix } => {
                self.endpoint(*endpoint).ok_or(Diverged::UnknownEndpoint(*endpoint))?;
                // A placement that the index rejects changes nothing.
                self.index_writer.place(*endpoint, *anchor, suffix, seq).map_err(Diverged::Blocks)?;
                if *anchor == BlockHash::ROOT {
                    self.record_cold_placement(*endpoint, seq)?;
                }
            }
            Change::Evicted { endpoint, last_used_seq, blocks } => {
                let outcome = self.index_writer.evict(*endpoint, *last_used_seq, *blocks);
                return outcome.map_err(Diverged::Blocks);
            }
            Change::Acknowledged { origin, number } if self.acknowledged(*origin) > *number => {
                return Err(Diverged::AcknowledgementDecreased(*origin));
            }
            Change::Acknowledged { origin, number } => self.acknowledge(*origin, Some(*number)),
            Change::TokenRatioLearned { model, ratio } => self.set_token_ratio(*model, *ratio),
            Change::CacheAccuracyChanged { endpoint, accuracy } => {
                return self.set_cache_accuracy(*endpoint, *accuracy);
            }
            Change::ResponseStored { response, endpoint } => self.set_stored_response(*response, *endpoint),
            Change::ProvisionalSet { since } => self.set_provisional_since(*since),
            Change::Flow(change) => self.change_flows(change),
            Change::Signalled { signal } => self.set_signal(signal),
        }
        Ok(())
    }

    fn set_endpoint(&mut self, spec: &Arc<EndpointSpec>) {
        self.descriptions = Arc::default();
        if let Some(endpoint_state) = self.endpoints.get_mut(spec.key()) {
            let before = std::mem::replace(&mut endpoint_state.spec, Arc::clone(spec));
            let sums = (digest::of_spec(&before), digest::of_spec(spec));
            digest::replace_part(&mut self.digest.specs, sums.0, sums.1);
            return;
        }
        let endpoint_state = EndpointState::new(Arc::clone(spec));
        self.digest.add(endpoint_state.digest());
        self.loads.add(endpoint_state.key);
        self.endpoints.insert(Arc::new(endpoint_state));
    }

    fn set_models(&mut self, models: &Arc<Models>) {
        let before = std::mem::replace(&mut self.models, Arc::clone(models));
        let sums = (digest::of_models(&before), digest::of_models(models));
        digest::replace_part(&mut self.digest.models, sums.0, sums.1);
    }

    fn remove_endpoint(&mut self, endpoint: EndpointKey) -> Result<(), Diverged> {
        let endpoint_state = self.endpoints.remove(endpoint).ok_or(Diverged::UnknownEndpoint(endpoint))?;
        self.descriptions = Arc::default();
        self.digest.subtract(endpoint_state.digest());
        for (origin, load) in self.loads.remove(endpoint) {
            digest::replace_part(&mut self.digest.loads, digest::of_load(endpoint, origin, load), 0);
        }
        self.index_writer.remove_endpoint(endpoint);
        Ok(())
    }

    fn observe(&mut self, endpoint: EndpointKey, observed: &Observed) -> Result<(), Diverged> {
        let before = std::mem::replace(&mut self.endpoint_mut(endpoint)?.observed, observed.clone());
        if before.loses_cache(observed) {
            self.index_writer.remove_endpoint(endpoint);
        }
        let sum = |observed: &Observed| digest::of_observed(endpoint, observed);
        digest::replace_part(&mut self.digest.observed, sum(&before), sum(observed));
        Ok(())
    }

    fn set_adapters(
        &mut self,
        endpoint: EndpointKey,
        residency: &Arc<AdapterResidency>,
    ) -> Result<(), Diverged> {
        let before = self.endpoint_mut(endpoint)?.adapters.replace(Arc::clone(residency));
        self.descriptions = Arc::default();
        let sum = |residency: Option<&AdapterResidency>| digest::of_adapters(endpoint, residency);
        digest::replace_part(&mut self.digest.observed, sum(before.as_deref()), sum(Some(residency)));
        Ok(())
    }

    fn assess(&mut self, endpoint: EndpointKey, assessment: &Assessment) -> Result<(), Diverged> {
        let before = std::mem::replace(&mut self.endpoint_mut(endpoint)?.assessment, assessment.clone());
        let sum = |assessment: &Assessment| digest::of_assessment(endpoint, assessment);
        digest::replace_part(&mut self.digest.observed, sum(&before), sum(assessment));
        Ok(())
    }

    fn set_load(&mut self, endpoint: EndpointKey, origin: Origin, load: Load) -> Result<(), Diverged> {
        let before = self.loads.set(endpoint, origin, load).ok_or(Diverged::UnknownEndpoint(endpoint))?;
        let sum = |load: Load| digest::of_load(endpoint, origin, load);
        digest::replace_part(&mut self.digest.loads, sum(before), sum(load));
        Ok(())
    }

    fn record_cold_placement(&mut self, endpoint: EndpointKey, seq: u64) -> Result<(), Diverged> {
        let before = std::mem::replace(&mut self.endpoint_mut(endpoint)?.cold_placement_seq, seq);
        let sum = |seq| digest::of_cold(endpoint, seq);
        digest::replace_part(&mut self.digest.placements, sum(before), sum(seq));
        Ok(())
    }

    fn endpoint_mut(&mut self, endpoint: EndpointKey) -> Result<&mut EndpointState, Diverged> {
        self.endpoints.get_mut(endpoint).ok_or(Diverged::UnknownEndpoint(endpoint))
    }
}
