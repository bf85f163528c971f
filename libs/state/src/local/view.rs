//! The immutable snapshot of a pool that a decision reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_prefix::{EndpointSlots, Index, Lookup, MatchLengths};
use signalbox_types::{
    BlockHash, EndpointKey, Format, Load, ModelKey, Models, Origin, Request, TokenRatio, Version,
};
use smallvec::SmallVec;

use super::bookings::{Bookings, InFlightGauge};
use super::local_state::{LocalState, PeerLoad};
use super::overlay::Overlay;
use super::prefix_matches::PrefixMatches;
use crate::pool_state::EndpointState;
use crate::replication::StateReplica;

/// The pool at one version, and this process's load at each of its endpoints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// The version of the state; `None` before the first snapshot.
    pub version: Option<Version>,
    /// The format of the blocks.
    pub format: Format,
    /// The endpoints, ordered by key.
    pub endpoints: Arc<[Arc<EndpointState>]>,
    /// The index of the blocks that the endpoints hold. It is live: it advances with the pool while the rest
    /// of the view does not change. It is not serialized; a recording contains the [`PrefixMatches`] that the
    /// decision read from it.
    #[serde(skip)]
    pub index: Arc<Index>,
    /// When the owner's last message arrived, in milliseconds of this process's clock.
    #[serde(skip)]
    pub owner_seen_at_ms: u64,
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
    /// When each endpoint was last seen to start processing a prompt, in milliseconds of this process's
    /// clock, in the order of `endpoints`.
    #[serde(skip)]
    prefill_began_ms: Vec<u64>,
    /// This process's gauges, in the order of `endpoints`. They are not serialized; a recording contains the
    /// [`LocalState`] that the decision read from them.
    #[serde(skip)]
    gauges: Arc<[Arc<InFlightGauge>]>,
    /// Whether it is certain that no endpoint is draining. It spares most decisions from reading each
    /// specification.
    #[serde(skip)]
    none_is_draining: bool,
    /// The slots of the index, and the position in `endpoints` of the endpoint in each slot.
    #[serde(skip)]
    slots: (Arc<EndpointSlots>, Arc<[Option<usize>]>),
}

impl View {
    /// Returns the view of the state of `replica`. It shares the unchanged parts of `before`.
    pub fn next(before: &Self, replica: &StateReplica, bookings: &Bookings, owner_seen_at_ms: u64) -> Self {
        let endpoints: Arc<[_]> = replica.pool_state().endpoints().cloned().collect();
        let is_same_set = endpoints
            .iter()
            .map(|endpoint_state| endpoint_state.key)
            .eq(before.endpoints.iter().map(|endpoint_state| endpoint_state.key));
        let gauges = if is_same_set {
            Arc::clone(&before.gauges)
        } else {
            endpoints.iter().map(|endpoint_state| bookings.gauge(endpoint_state.key)).collect()
        };
        let index = Arc::clone(replica.pool_state().index_writer().index());
        let (version, format) = (replica.version(), replica.format());
        let adapters = adapters(before, &endpoints, is_same_set);
        let models = Arc::clone(replica.pool_state().models());
        let token_ratios = Arc::clone(replica.pool_state().token_ratios());
        let prefill_began_ms = prefill_began_ms(before, &endpoints, owner_seen_at_ms, is_same_set);
        let slots = index.slots();
        let positions = if is_same_set && Arc::ptr_eq(&slots, &before.slots.0) {
            Arc::clone(&before.slots.1)
        } else {
            positions(&slots, &endpoints)
        };
        let slots = (slots, positions);
        let none_is_draining = none_is_draining(before, &endpoints, is_same_set);
        Self {
            version,
            format,
            endpoints,
            index,
            owner_seen_at_ms,
            adapters,
            models,
            token_ratios,
            prefill_began_ms,
            gauges,
            none_is_draining,
            slots,
        }
    }

    /// Returns whether any endpoint may be draining. If not, no specification needs to be read to know it.
    pub fn may_be_draining(&self) -> bool {
        !self.none_is_draining
    }

    /// Computes the request's tokens as its model makes them of the prompt, as far as that was learned.
    pub fn apply_token_ratio(&self, request: &mut Request) {
        let ratio = self.token_ratios.get(&ModelKey::of(&request.model));
        request.apply_token_ratio(ratio.copied().unwrap_or_default());
    }

    /// Returns the LoRA adapter with the name `model`, if there is one.
    pub fn adapter(&self, model: &str) -> Option<&Arc<str>> {
        self.adapters.get(model)
    }

    /// Returns the position of `endpoint` in `endpoints`.
    pub fn position(&self, endpoint: EndpointKey) -> Option<usize> {
        self.endpoints.binary_search_by_key(&endpoint, |endpoint_state| endpoint_state.key).ok()
    }

    /// Returns the milliseconds since the owner's last message.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.owner_seen_at_ms)
    }

    /// Returns this process's own state that the pool state does not contain yet, at `now_ms`: its own load,
    /// in the order of `endpoints`.
    pub fn local_state(&self, origin: Origin, peer_load: PeerLoad, now_ms: u64) -> LocalState {
        let own = self.gauges.iter().map(|gauge| gauge.load()).collect();
        let prefill_began_ms = self.gauges.iter().zip(&self.prefill_began_ms);
        let prefilling_ms = prefill_began_ms
            .map(|(gauge, prefill_began_ms)| {
                now_ms.saturating_sub(gauge.prefill_began_ms().max(*prefill_began_ms))
            })
            .collect();
        let is_unserved = self.gauges.iter().any(|gauge| gauge.unserved() != Load::ZERO);
        let unserved = self.gauges.iter().filter(|_| is_unserved).map(|gauge| gauge.unserved()).collect();
        let (adapter_sent_to, probed) = (SmallVec::new(), SmallVec::new());
        LocalState { origin, own, prefilling_ms, peer_load, adapter_sent_to, probed, unserved }
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
fn positions(slots: &EndpointSlots, endpoints: &[Arc<EndpointState>]) -> Arc<[Option<usize>]> {
    positions_in(slots, endpoints).collect()
}

fn positions_in<'a>(
    slots: &'a EndpointSlots,
    endpoints: &'a [Arc<EndpointState>],
) -> impl Iterator<Item = Option<usize>> + 'a {
    let position = |endpoint: EndpointKey| {
        endpoints.binary_search_by_key(&endpoint, |endpoint_state| endpoint_state.key).ok()
    };
    slots.endpoints().iter().map(move |endpoint| endpoint.and_then(position))
}

/// Returns the distinct numbers in `blocks`, of which there are few. Sorts in place first, because building
/// the set from unsorted numbers takes memory that depends on their count.
fn distinct(blocks: &[usize]) -> BTreeSet<usize> {
    let mut blocks = blocks.to_vec();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.into_iter().collect()
}

/// Returns when each endpoint was last seen to start processing a prompt: `now_ms` if a prompt was completed
/// since `before` or the first one arrived.
fn prefill_began_ms(
    before: &View,
    endpoints: &[Arc<EndpointState>],
    now_ms: u64,
    is_same_set: bool,
) -> Vec<u64> {
    let prefill_began_ms = |(position, endpoint_state): (usize, &Arc<EndpointState>)| {
        let known = if is_same_set { Some(position) } else { before.position(endpoint_state.key) };
        let Some(at) = known else { return now_ms };
        let known = &before.endpoints[at];
        let has_advanced = !Arc::ptr_eq(known, endpoint_state) && {
            let (was, is) = (known.load().prefills, endpoint_state.load().prefills);
            is < was || (was == 0 && is > 0)
        };
        if has_advanced { now_ms } else { before.prefill_began_ms.get(at).copied().unwrap_or(now_ms) }
    };
    endpoints.iter().enumerate().map(prefill_began_ms).collect()
}

/// Returns whether no endpoint is draining. Reads the specifications only if one of them changed.
fn none_is_draining(before: &View, endpoints: &[Arc<EndpointState>], is_same_set: bool) -> bool {
    let mut known = endpoints.iter().zip(before.endpoints.iter());
    if is_same_set && known.all(|(now, then)| Arc::ptr_eq(&now.spec, &then.spec)) {
        return before.none_is_draining;
    }
    endpoints.iter().all(|endpoint_state| !endpoint_state.spec.is_draining)
}

/// Returns the adapters that any of the endpoints has had: those of `before` and new ones. Collects them from
/// scratch when the set of endpoints changed.
fn adapters(before: &View, endpoints: &[Arc<EndpointState>], is_same_set: bool) -> Arc<BTreeSet<Arc<str>>> {
    let adapters_now = endpoints.iter().map(|endpoint_state| endpoint_state.adapters.as_ref());
    if !is_same_set {
        return Arc::new(adapters_now.flatten().flat_map(|residency| residency.names()).cloned().collect());
    }
    let known = before.endpoints.iter().map(|endpoint_state| endpoint_state.adapters.as_ref());
    let changed = adapters_now.zip(known).filter(|(now, then)| now.map(Arc::as_ptr) != then.map(Arc::as_ptr));
    let names = changed.filter_map(|(now, _)| now).flat_map(|residency| residency.names());
    let new: Vec<_> = names.filter(|name| !before.adapters.contains(*name)).cloned().collect();
    if new.is_empty() {
        return Arc::clone(&before.adapters);
    }
    let mut adapters = BTreeSet::clone(&before.adapters);
    adapters.extend(new);
    Arc::new(adapters)
}
