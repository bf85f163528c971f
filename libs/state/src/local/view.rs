//! The immutable snapshot of a pool that a decision reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_prefix::{EndpointSlots, Index, Lookup, MatchLengths};
use signalbox_types::{
    BlockHash, EndpointKey, Format, Load, ModelKey, Models, Origin, Request, ServedModels, TokenRatio,
    Version,
};
use smallvec::SmallVec;

use super::bookings::{Bookings, InFlightGauge};
use super::local_state::{LocalState, PeerLoad};
use super::overlay::Overlay;
use super::prefix_matches::PrefixMatches;
use crate::pool_state::{EndpointList, FlowTable, LiveLoads, StoredResponses};
use crate::replication::StateReplica;

/// The pool at one version, and the latest load at each of its endpoints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// The version of the state; `None` before the first snapshot.
    pub version: Option<Version>,
    /// The format of the blocks.
    pub format: Format,
    /// The endpoints, ordered by key.
    pub endpoints: EndpointList,
    /// The index of the blocks that the endpoints hold. It is live: it advances with the pool while the rest
    /// of the view does not change. It is not serialized; a recording contains the [`PrefixMatches`] that the
    /// decision read from it.
    #[serde(skip)]
    pub index: Arc<Index>,
    /// The load that each replica put on each endpoint, and the slots of the endpoints there, in the order of `endpoints`.
    /// They are live, too; a recording contains the [`LocalState`] that the decision read from them.
    #[serde(skip)]
    loads: (LiveLoads, Arc<[usize]>),
    /// Identifies the specifications and adapters of the endpoints.
    #[serde(skip)]
    descriptions: Arc<()>,
    /// The LoRA adapters that any of the endpoints is known to have had.
    pub adapters: Arc<BTreeSet<Arc<str>>>,
    /// The pool's objectives and model rewrites. They are not serialized: they are applied before a decision,
    /// and the results are part of the request.
    #[serde(skip)]
    pub models: Arc<Models>,
    /// The token ratio of each model of which one was learned. It is not serialized: it is applied before a
    /// decision, and the result is part of the request.
    #[serde(skip)]
    token_ratios: Arc<BTreeMap<ModelKey, TokenRatio>>,
    /// Which endpoints keep responses that requests can name. It is not serialized: it is applied before a decision, and
    /// the result is part of the request.
    #[serde(skip)]
    stored_responses: StoredResponses,
    /// What waits while the pool is full, and what may go. It is not serialized: it is applied before a decision.
    #[serde(skip)]
    flows: FlowTable,
    /// This process's gauges, in the order of `endpoints`. They are not serialized; a recording contains the
    /// [`LocalState`] that the decision read from them.
    #[serde(skip)]
    gauges: Arc<[Arc<InFlightGauge>]>,
    /// The number of draining endpoints, if it is known: not in a recording. It spares most decisions from reading each
    /// specification.
    #[serde(skip)]
    draining: Option<usize>,
    /// The slots of the index, and the position in `endpoints` of the endpoint in each slot.
    #[serde(skip)]
    slots: (Arc<EndpointSlots>, Arc<[Option<usize>]>),
}

impl View {
    /// Returns the view of the state of `replica`. It shares the unchanged parts of `before` and of the state: unless
    /// specifications or adapters have changed, it costs the same however large the pool is.
    pub fn next(before: &Self, replica: &StateReplica, bookings: &Bookings) -> Self {
        let pool_state = replica.pool_state();
        let endpoints = pool_state.endpoint_list().clone();
        let index = Arc::clone(pool_state.index_writer().index());
        let is_same_set = endpoints.has_same_keys(&before.endpoints);
        let slots = index.slots();
        let positions = if is_same_set && Arc::ptr_eq(&slots, &before.slots.0) {
            Arc::clone(&before.slots.1)
        } else {
            positions(&slots, &endpoints)
        };
        let loads = pool_state.loads().live();
        let load_slots = if is_same_set && loads.has_same_slots(&before.loads.0) {
            Arc::clone(&before.loads.1)
        } else {
            endpoints.iter().filter_map(|endpoint_state| loads.slot(endpoint_state.key)).collect()
        };
        let mut next = Self {
            version: replica.version(),
            format: replica.format(),
            endpoints,
            index,
            loads: (loads.clone(), load_slots),
            descriptions: Arc::clone(pool_state.descriptions()),
            adapters: Arc::clone(&before.adapters),
            models: Arc::clone(pool_state.models()),
            token_ratios: Arc::clone(pool_state.token_ratios()),
            stored_responses: pool_state.stored_responses().clone(),
            flows: pool_state.flows().clone(),
            gauges: Arc::clone(&before.gauges),
            draining: before.draining,
            slots: (slots, positions),
        };
        match is_same_set && before.draining.is_some() {
            true if next.has_same_descriptions(before) => {}
            true => next.update(before),
            false => next.rebuild(bookings),
        }
        next
    }

    /// Returns whether the specifications and adapters of the endpoints are known to be the same as in `other`.
    pub fn has_same_descriptions(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.descriptions, &other.descriptions)
    }

    /// Brings what is derived from each endpoint up to date with the endpoints that changed.
    fn update(&mut self, before: &Self) {
        let (mut new_adapters, mut draining) = (Vec::new(), self.draining.unwrap_or(0));
        for (_, then, now) in self.endpoints.changed_since(&before.endpoints) {
            draining = draining + usize::from(now.spec.is_draining) - usize::from(then.spec.is_draining);
            if now.adapters.as_ref().map(Arc::as_ptr) != then.adapters.as_ref().map(Arc::as_ptr) {
                let names = now.adapters.iter().flat_map(|residency| residency.names());
                new_adapters.extend(names.filter(|name| !self.adapters.contains(*name)).cloned());
            }
        }
        self.draining = Some(draining);
        if !new_adapters.is_empty() {
            Arc::make_mut(&mut self.adapters).extend(new_adapters);
        }
    }

    /// Derives everything from scratch, because endpoints were added or removed.
    fn rebuild(&mut self, bookings: &Bookings) {
        self.gauges =
            self.endpoints.iter().map(|endpoint_state| bookings.gauge(endpoint_state.key)).collect();
        let adapters = self.endpoints.iter().filter_map(|endpoint_state| endpoint_state.adapters.as_ref());
        self.adapters = Arc::new(adapters.flat_map(|residency| residency.names()).cloned().collect());
        self.draining = Some(self.endpoints.iter().filter(|member| member.spec.is_draining).count());
    }

    /// Returns the view for a recording, which outlives it. Instead of the index, the loads, the stored responses, the flows and the gauges, which it would
    /// otherwise keep in memory when the pool no longer has them, it has those of `empty`.
    pub fn to_recorded(&self, empty: &Self) -> Self {
        let Self { index, loads, stored_responses, flows, gauges, slots, .. } = empty.clone();
        Self { index, loads, stored_responses, flows, gauges, slots, ..self.clone() }
    }

    /// Returns the load that all replicas put on the endpoint at `position`, as the pool knows it now.
    pub fn booked_at(&self, position: usize) -> Load {
        self.loads.0.total_at(self.loads.1[position])
    }

    /// Returns the load that all replicas except `origin` put on each endpoint, as the pool knows it now.
    pub fn booked_without(&self, origin: Origin) -> Vec<Load> {
        self.loads.0.without(origin, &self.loads.1)
    }

    /// Returns how many replicas put load on the pool, `origin` among them.
    pub fn booking_replicas(&self, origin: Origin) -> usize {
        self.loads.0.origins().filter(|of| *of != origin).count() + 1
    }

    /// Returns this process's gauge of the endpoint at `position`.
    pub fn gauge(&self, position: usize) -> &Arc<InFlightGauge> {
        &self.gauges[position]
    }

    /// Returns whether any endpoint may be draining. If not, no specification needs to be read to know it.
    pub fn may_be_draining(&self) -> bool {
        self.draining != Some(0)
    }

    /// Computes the request's tokens as its model makes them of the prompt, as far as that was learned.
    pub fn apply_token_ratio(&self, request: &mut Request) {
        let ratio = self.token_ratios.get(&ModelKey::of(&request.model));
        request.apply_token_ratio(ratio.copied().unwrap_or_default());
    }

    /// Returns which endpoints keep responses that requests can name.
    pub fn stored_responses(&self) -> &StoredResponses {
        &self.stored_responses
    }

    /// Returns what waits at all replicas while the pool is full, and what may go.
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// Returns the LoRA adapter with the name `model`, if there is one.
    pub fn adapter(&self, model: &str) -> Option<&Arc<str>> {
        self.adapters.get(model)
    }

    /// Returns the models that the endpoints are known to serve.
    pub fn served_models(&self) -> ServedModels {
        ServedModels { adapters: Arc::clone(&self.adapters), with_usage: Arc::clone(&self.token_ratios) }
    }

    /// Returns the position of `endpoint` in `endpoints`.
    pub fn position(&self, endpoint: EndpointKey) -> Option<usize> {
        self.endpoints.position(endpoint)
    }

    /// Returns the load of each endpoint and this process's own state that the pool state does not contain yet, at
    /// `now_ms`, in the order of `endpoints`.
    pub fn local_state(&self, origin: Origin, peer_load: PeerLoad, now_ms: u64) -> LocalState {
        let own = self.gauges.iter().map(|gauge| gauge.load()).collect();
        let peers = match peer_load {
            PeerLoad::Current => self.booked_without(origin),
            PeerLoad::Outdated => Vec::new(),
        };
        let (loads, load_slots) = &self.loads;
        let began_ms = self.gauges.iter().zip(load_slots.iter());
        let began_ms =
            began_ms.map(|(gauge, slot)| gauge.prefill_began_ms().max(loads.prefill_began_ms(*slot)));
        let prefilling_ms = began_ms.map(|began_ms| now_ms.saturating_sub(began_ms)).collect();
        let is_unserved = self.gauges.iter().any(|gauge| gauge.unserved() != Load::ZERO);
        let unserved = self.gauges.iter().filter(|_| is_unserved).map(|gauge| gauge.unserved()).collect();
        let (adapter_sent_to, probed) = (SmallVec::new(), SmallVec::new());
        LocalState { origin, own, peers, prefilling_ms, adapter_sent_to, probed, unserved }
    }

    /// Returns how much of `chain` each endpoint holds according to the index and the overlay, and the length
    /// of the longest match of any endpoint. Reports no match if the pool's format is not supported.
    pub fn look_up(&self, chain: &[BlockHash], overlay: &Overlay) -> (PrefixMatches, usize) {
        let mut matches = PrefixMatches { blocks: vec![0; self.endpoints.len()], total: chain.len() };
        if !self.format.is_supported() {
            return (matches, 0);
        }
        let mut lengths = MatchLengths::default();
        self.index.lookup_into(chain, &mut lengths);
        self.fill_blocks(&lengths, &mut matches.blocks);
        let mut known = lengths.longest();
        if !overlay.is_empty() {
            let ends = distinct(&matches.blocks);
            let longest = overlay.extend_matches(chain, ends, |endpoint, at, end| {
                let held = self.position(endpoint).map(|position| &mut matches.blocks[position]);
                let grows = held.filter(|held| **held >= at && **held < end);
                grows.map(|held| *held = end).is_some()
            });
            known = known.max(longest);
        }
        (matches, known)
    }

    /// Returns how much of `chain` one endpoint holds according to the index and the overlay, and a length up to which the
    /// pool knows it: what a placement there needs to know. Costs less than [`Self::look_up`], which gathers all matches.
    pub fn look_up_at(
        &self,
        endpoint: EndpointKey,
        chain: &[BlockHash],
        overlay: &Overlay,
    ) -> (usize, usize) {
        if !self.format.is_supported() {
            return (0, 0);
        }
        let mut lengths = MatchLengths::default();
        self.index.lookup_into(chain, &mut lengths);
        let mut held = lengths.held_by(endpoint);
        if !overlay.is_empty() {
            overlay.extend_matches(chain, BTreeSet::from([held]), |of, at, end| {
                let grows = of == endpoint && (at..end).contains(&held);
                if grows {
                    held = end;
                }
                grows
            });
        }
        (held, held.max(lengths.longest()))
    }

    /// Writes `lengths` to `blocks`, in the order of `endpoints`.
    fn fill_blocks(&self, lengths: &MatchLengths, blocks: &mut [usize]) {
        let (slots, positions) = &self.slots;
        if Arc::ptr_eq(slots, lengths.slots()) {
            let known = positions.iter().zip(lengths.blocks()).filter_map(|(at, held)| Some(((*at)?, *held)));
            known.for_each(|(at, held)| blocks[at] = held as usize);
            return;
        }
        // An endpoint was added or removed since this view was made.
        for (at, held) in positions_in(lengths.slots(), &self.endpoints).zip(lengths.blocks()) {
            if let Some(at) = at {
                blocks[at] = *held as usize;
            }
        }
    }

    /// Returns the matches of `lookup`, for a chain of `total` blocks, in the order of `endpoints`.
    pub fn matches(&self, lookup: &Lookup, total: usize) -> PrefixMatches {
        let mut blocks = vec![0; self.endpoints.len()];
        for held in &lookup.matches {
            if let Some(at) = self.position(held.endpoint) {
                blocks[at] = held.blocks;
            }
        }
        PrefixMatches { blocks, total }
    }
}

/// Returns the position in `endpoints` of the endpoint in each slot.
fn positions(slots: &EndpointSlots, endpoints: &EndpointList) -> Arc<[Option<usize>]> {
    positions_in(slots, endpoints).collect()
}

fn positions_in<'a>(
    slots: &'a EndpointSlots,
    endpoints: &'a EndpointList,
) -> impl Iterator<Item = Option<usize>> + 'a {
    let position = |endpoint: EndpointKey| endpoints.position(endpoint);
    slots.endpoints().map(move |endpoint| endpoint.and_then(position))
}

/// Returns the distinct numbers in `blocks`, of which there are few. Sorts in place first, because building
/// the set from unsorted numbers takes memory that depends on their count.
fn distinct(blocks: &[usize]) -> BTreeSet<usize> {
    let mut blocks = blocks.to_vec();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.into_iter().collect()
}
