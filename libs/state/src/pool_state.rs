//! The replicated state of a pool: what its owner and every replica hold alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_prefix::{Misfit, Residents, Run};
use signalbox_types::{BlockHash, EndpointKey, EndpointSpec, Incarnation, Load, Models, Origin};
use smallvec::SmallVec;
use thiserror::Error;

use crate::adapter_residency::AdapterResidency;
use crate::assessment::Assessment;
use crate::change::{Change, Observed};
use crate::digest::{self, Digest};

/// A change does not fit the state it is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Diverged {
    /// It names an endpoint that is not there.
    #[error("change of an endpoint {0} that is not known")]
    EndpointObserver(EndpointKey),
    /// It acknowledges less of an origin's placements than was acknowledged before.
    #[error("acknowledgement of origin {0} that falls")]
    Acknowledged(Origin),
    /// It does not fit the blocks that are held.
    #[error("change of blocks that does not fit those held: {0}")]
    Blocks(Misfit),
}

/// All that is known of one endpoint, but the blocks it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    /// Its key.
    pub key: EndpointKey,
    /// What it is.
    pub spec: Arc<EndpointSpec>,
    /// What is measured of it.
    pub observed: Observed,
    /// What the owner makes of it.
    pub assessment: Assessment,
    /// Its LoRA adapters, where it tells.
    pub adapters: Option<Arc<AdapterResidency>>,
    /// Work in flight that each replica gave it, none of it zero, in order of origin.
    pub loads: SmallVec<[(Origin, Load); 4]>,
    /// When it was last given a prompt of which the pool knew nothing: the number of that change in the pool's history, 0 for
    /// never.
    pub cold_placement_seq: u64,
}

impl EndpointState {
    /// An endpoint of which nothing is measured yet.
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
        }
    }

    /// Work in flight that `origin` gave it.
    pub fn load_of(&self, origin: Origin) -> Load {
        self.loads.iter().find(|(of, _)| *of == origin).map_or(Load::ZERO, |(_, load)| *load)
    }

    /// Work in flight that all replicas but `origin` gave it.
    pub fn load_without(&self, origin: Origin) -> Load {
        let others = self.loads.iter().filter(|(of, _)| *of != origin);
        others.fold(Load::ZERO, |sum, (_, load)| sum + *load)
    }

    /// Work in flight that all replicas gave it.
    pub fn load(&self) -> Load {
        self.loads.iter().fold(Load::ZERO, |sum, (_, load)| sum + *load)
    }

    /// Returns what was in flight before.
    fn set_load(&mut self, origin: Origin, load: Load) -> Load {
        let at = self.loads.binary_search_by_key(&origin, |(of, _)| *of);
        match (at, load == Load::ZERO) {
            (Ok(at), true) => return self.loads.remove(at).1,
            (Ok(at), false) => return std::mem::replace(&mut self.loads[at].1, load),
            (Err(_), true) => {}
            (Err(at), false) => self.loads.insert(at, (origin, load)),
        }
        Load::ZERO
    }

    fn digest(&self) -> Digest {
        let adapters = digest::of_shelf(self.key, self.adapters.as_deref());
        let loads = self.loads.iter().map(|(origin, load)| digest::of_load(self.key, *origin, *load));
        Digest {
            specs: digest::of_spec(&self.spec),
            observed: digest::of_observed(self.key, &self.observed)
                .wrapping_add(digest::of_assessment(self.key, &self.assessment))
                .wrapping_add(adapters),
            loads: loads.fold(0, u64::wrapping_add),
            placements: digest::of_cold(self.key, self.cold_placement_seq),
            models: 0,
        }
    }
}

/// The replicated state of a pool. The owner and its followers change it by [`PoolState::apply`] alone.
#[derive(Debug, Default)]
pub struct PoolState {
    endpoints: BTreeMap<EndpointKey, Arc<EndpointState>>,
    acknowledged: BTreeMap<Origin, u64>,
    residents: Residents,
    models: Arc<Models>,
    digest: Digest,
}

impl PoolState {
    /// Builds the state that a snapshot describes.
    ///
    /// # Errors
    /// [`Diverged`] when the blocks do not hang together.
    pub fn from_parts(
        endpoints: Vec<EndpointState>,
        runs: Vec<Run>,
        acknowledged: Vec<(Origin, u64)>,
        models: &Arc<Models>,
    ) -> Result<Self, Diverged> {
        let residents = Residents::from_runs(runs).map_err(Diverged::Blocks)?;
        let mut pool_state = Self { residents, ..Self::default() };
        pool_state.digest.placements = pool_state.residents.total_digest();
        for member in endpoints {
            pool_state.digest.add(member.digest());
            pool_state.endpoints.insert(member.key, Arc::new(member));
        }
        for (origin, number) in acknowledged {
            pool_state.acknowledge(origin, Some(number));
        }
        pool_state.set_models(models);
        Ok(pool_state)
    }

    /// The endpoints, in order of their keys.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &Arc<EndpointState>> {
        self.endpoints.values()
    }

    /// One endpoint.
    pub fn member(&self, endpoint: EndpointKey) -> Option<&Arc<EndpointState>> {
        self.endpoints.get(&endpoint)
    }

    /// The blocks that the endpoints hold.
    pub fn residents(&self) -> &Residents {
        &self.residents
    }

    /// What the pool says of models.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// For each replica the number up to which its placements are part of this state.
    pub fn acknowledgements(&self) -> impl ExactSizeIterator<Item = (Origin, u64)> {
        self.acknowledged.iter().map(|(origin, number)| (*origin, *number))
    }

    /// The number up to which `origin`'s placements are part of this state; 0 for none.
    pub fn acknowledged(&self, origin: Origin) -> u64 {
        self.acknowledged.get(&origin).copied().unwrap_or(0)
    }

    /// The sums over the whole state.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Makes the change that has the number `seq` in the pool's history.
    ///
    /// # Errors
    /// [`Diverged`] when it does not fit. The state is not to be used any further then.
    pub fn apply(&mut self, seq: u64, change: &Change) -> Result<(), Diverged> {
        match change {
            Change::EndpointSet { spec } => self.set_endpoint(spec),
            Change::EndpointRemoved { endpoint } => return self.remove_endpoint(*endpoint),
            Change::ModelsSet { models } => self.set_models(models),
            Change::Observed { endpoint, observed } => return self.observe(*endpoint, observed),
            Change::AdaptersChanged { endpoint, residency } => return self.shelve(*endpoint, residency),
            Change::Assessed { endpoint, assessment } => return self.assess(*endpoint, *assessment),
            Change::LoadChanged { endpoint, origin, load } => {
                return self.load(*endpoint, *origin, *load);
            }
            Change::OriginExpired { origin } => self.expire(*origin),
            Change::Placed { endpoint, anchor, suffix } => {
                self.member(*endpoint).ok_or(Diverged::EndpointObserver(*endpoint))?;
                // What cannot be placed changes nothing.
                self.reside(*endpoint, |residents| residents.place(*endpoint, *anchor, suffix, seq))?;
                if *anchor == BlockHash::ROOT {
                    self.place_cold(*endpoint, seq)?;
                }
            }
            Change::Evicted { endpoint, used, blocks } => {
                return self.reside(*endpoint, |residents| residents.evict(*endpoint, *used, *blocks));
            }
            Change::Acknowledged { origin, number } if self.acknowledged(*origin) > *number => {
                return Err(Diverged::Acknowledged(*origin));
            }
            Change::Acknowledged { origin, number } => self.acknowledge(*origin, Some(*number)),
        }
        Ok(())
    }

    fn set_endpoint(&mut self, spec: &Arc<EndpointSpec>) {
        let key = spec.key();
        let mut member = match self.endpoints.remove(&key) {
            Some(member) => {
                self.digest.subtract(member.digest());
                Arc::unwrap_or_clone(member)
            }
            None => EndpointState::new(Arc::clone(spec)),
        };
        member.spec = Arc::clone(spec);
        self.digest.add(member.digest());
        self.endpoints.insert(key, Arc::new(member));
    }

    fn set_models(&mut self, models: &Arc<Models>) {
        let before = std::mem::replace(&mut self.models, Arc::clone(models));
        let sums = (digest::of_models(&before), digest::of_models(models));
        digest::exchange(&mut self.digest.models, sums.0, sums.1);
    }

    fn remove_endpoint(&mut self, endpoint: EndpointKey) -> Result<(), Diverged> {
        let member = self.endpoints.remove(&endpoint).ok_or(Diverged::EndpointObserver(endpoint))?;
        self.digest.subtract(member.digest());
        self.forget_blocks(endpoint);
        Ok(())
    }

    fn observe(&mut self, endpoint: EndpointKey, observed: &Observed) -> Result<(), Diverged> {
        let before = self.member(endpoint).ok_or(Diverged::EndpointObserver(endpoint))?.observed.incarnation;
        if is_rebirth(before, observed.incarnation) {
            self.forget_blocks(endpoint);
        }
        let member = self.member_mut(endpoint)?;
        let before = std::mem::replace(&mut member.observed, observed.clone());
        let sum = |observed: &Observed| digest::of_observed(endpoint, observed);
        digest::exchange(&mut self.digest.observed, sum(&before), sum(observed));
        Ok(())
    }

    fn shelve(&mut self, endpoint: EndpointKey, residency: &Arc<AdapterResidency>) -> Result<(), Diverged> {
        let before = self.member_mut(endpoint)?.adapters.replace(Arc::clone(residency));
        let sum = |residency: Option<&AdapterResidency>| digest::of_shelf(endpoint, residency);
        digest::exchange(&mut self.digest.observed, sum(before.as_deref()), sum(Some(residency)));
        Ok(())
    }

    fn assess(&mut self, endpoint: EndpointKey, assessment: Assessment) -> Result<(), Diverged> {
        let before = std::mem::replace(&mut self.member_mut(endpoint)?.assessment, assessment);
        let sum = |assessment: &Assessment| digest::of_assessment(endpoint, assessment);
        digest::exchange(&mut self.digest.observed, sum(&before), sum(&assessment));
        Ok(())
    }

    fn load(&mut self, endpoint: EndpointKey, origin: Origin, load: Load) -> Result<(), Diverged> {
        let before = self.member_mut(endpoint)?.set_load(origin, load);
        let sum = |load: Load| digest::of_load(endpoint, origin, load);
        digest::exchange(&mut self.digest.loads, sum(before), sum(load));
        Ok(())
    }

    fn place_cold(&mut self, endpoint: EndpointKey, seq: u64) -> Result<(), Diverged> {
        let before = std::mem::replace(&mut self.member_mut(endpoint)?.cold_placement_seq, seq);
        let sum = |seq| digest::of_cold(endpoint, seq);
        digest::exchange(&mut self.digest.placements, sum(before), sum(seq));
        Ok(())
    }

    fn member_mut(&mut self, endpoint: EndpointKey) -> Result<&mut EndpointState, Diverged> {
        self.endpoints.get_mut(&endpoint).map(Arc::make_mut).ok_or(Diverged::EndpointObserver(endpoint))
    }

    fn expire(&mut self, origin: Origin) {
        let loaded: Vec<_> = self
            .endpoints()
            .filter(|member| member.load_of(origin) != Load::ZERO)
            .map(|member| member.key)
            .collect();
        for endpoint in loaded {
            // The keys are this map's own.
            let _ = self.load(endpoint, origin, Load::ZERO);
        }
        self.acknowledge(origin, None);
    }

    fn acknowledge(&mut self, origin: Origin, number: Option<u64>) {
        let before = match number {
            Some(number) => self.acknowledged.insert(origin, number),
            None => self.acknowledged.remove(&origin),
        };
        let sum = |number: Option<u64>| number.map_or(0, |number| digest::of_acknowledged(origin, number));
        digest::exchange(&mut self.digest.loads, sum(before), sum(number));
    }

    fn reside(
        &mut self,
        endpoint: EndpointKey,
        edit: impl FnOnce(&mut Residents) -> Result<(), Misfit>,
    ) -> Result<(), Diverged> {
        let before = self.residents.digest(endpoint);
        let outcome = edit(&mut self.residents);
        let after = self.residents.digest(endpoint);
        digest::exchange(&mut self.digest.placements, before, after);
        outcome.map_err(Diverged::Blocks)
    }

    fn forget_blocks(&mut self, endpoint: EndpointKey) {
        digest::exchange(&mut self.digest.placements, self.residents.digest(endpoint), 0);
        self.residents.forget(endpoint);
    }
}

/// Whether a model server that said `before` and now says `after` was started anew. The first word is no rebirth.
pub(crate) fn is_rebirth(before: Incarnation, after: Incarnation) -> bool {
    before != Incarnation::default() && before != after
}
