//! The immutable picture that a decision reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_prefix::{Column, Index, Lookup, Slots};
use signalbox_types::{BlockHash, EndpointKey, Format, Load, Models, Origin, Version};
use smallvec::SmallVec;

use crate::bookings::{Bookings, InFlightGauge};
use crate::overlay::Overlay;
use crate::pool_state::EndpointState;
use crate::state_replica::StateReplica;

/// The pool at one version, and what this process has in flight at each of its endpoints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// What it is the state at; `None` before the first snapshot.
    pub version: Option<Version>,
    /// By what its blocks were hashed.
    pub format: Format,
    /// The endpoints, in order of their keys.
    pub endpoints: Arc<[Arc<EndpointState>]>,
    /// Which blocks they hold. Live: it moves on with the pool while the rest stands still. Not written down: what a decision reads
    /// of it are its [`PrefixMatches`].
    #[serde(skip)]
    pub index: Arc<Index>,
    /// When the owner was last heard, in milliseconds of this process's clock.
    #[serde(skip)]
    pub heard_at_ms: u64,
    /// The LoRA adapters that any of them is known to have had.
    pub adapters: Arc<BTreeSet<Arc<str>>>,
    /// What the pool says of models. Not written down: it is asked before a decision is made, and the answers are part of the request.
    #[serde(skip)]
    pub models: Arc<Models>,
    /// When each of them was last seen to begin with a prompt, in milliseconds of this process's clock, in the order of `members`.
    #[serde(skip)]
    turned_ms: Vec<u64>,
    /// This process's gauges, in the order of `members`. Not written down: what a decision reads of them is its [`LocalState`].
    #[serde(skip)]
    gauges: Arc<[Arc<InFlightGauge>]>,
    /// Which endpoints the numbers stand for that the index gives them, and where these stand among `members`.
    #[serde(skip)]
    slots: (Arc<Slots>, Arc<[Option<usize>]>),
}

impl View {
    /// The view of what `replica` holds. `before` lends what has not changed.
    pub fn next(before: &Self, replica: &StateReplica, bookings: &Bookings, heard_at_ms: u64) -> Self {
        let endpoints: Arc<[_]> = replica.pool_state().endpoints().cloned().collect();
        let same =
            endpoints.iter().map(|member| member.key).eq(before.endpoints.iter().map(|member| member.key));
        let gauges = if same {
            Arc::clone(&before.gauges)
        } else {
            endpoints.iter().map(|member| bookings.gauge(member.key)).collect()
        };
        let index = Arc::clone(replica.pool_state().residents().index());
        let (version, format) = (replica.version(), replica.format());
        let adapters = adapters(before, &endpoints, same);
        let models = Arc::clone(replica.pool_state().models());
        let turned_ms = turned_ms(before, &endpoints, heard_at_ms, same);
        let slots = index.slots();
        let positions = if same && Arc::ptr_eq(&slots, &before.slots.0) {
            Arc::clone(&before.slots.1)
        } else {
            positions(&slots, &endpoints)
        };
        let slots = (slots, positions);
        Self { version, format, endpoints, index, heard_at_ms, adapters, models, turned_ms, gauges, slots }
    }

    /// The LoRA adapter that `model` names, if it does.
    pub fn adapter(&self, model: &str) -> Option<&Arc<str>> {
        self.adapters.get(model)
    }

    /// Where `endpoint` stands among the members.
    pub fn position(&self, endpoint: EndpointKey) -> Option<usize> {
        self.endpoints.binary_search_by_key(&endpoint, |member| member.key).ok()
    }

    /// Milliseconds since the owner was last heard.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_at_ms)
    }

    /// What this process knows better than the pool at `now_ms`: its own work in flight, in the order of `members`.
    pub fn local(&self, origin: Origin, others: PeerLoad, now_ms: u64) -> LocalState {
        let own = self.gauges.iter().map(|gauge| gauge.load()).collect();
        let turned_ms = self.gauges.iter().zip(&self.turned_ms);
        let prefilling_ms = turned_ms
            .map(|(gauge, turned_ms)| now_ms.saturating_sub(gauge.turned_ms().max(*turned_ms)))
            .collect();
        LocalState { origin, own, prefilling_ms, others, adapter_sent: SmallVec::new() }
    }

    /// How much of `chain` each member holds, by the index and by what `overlay` lays over it, and how much of it is known at all: no
    /// more than one of them holds. Nothing where blocks are hashed otherwise than here.
    pub fn look_up(&self, chain: &[BlockHash], overlay: &Overlay) -> (PrefixMatches, usize) {
        let mut matches = PrefixMatches { blocks: vec![0; self.endpoints.len()], total: chain.len() };
        if !self.format.is_known() {
            return (matches, 0);
        }
        let mut column = Column::default();
        self.index.lookup_into(chain, &mut column);
        self.fill(&column, &mut matches.blocks);
        let mut known = column.known();
        if !overlay.is_empty() {
            let ends = distinct(&matches.blocks);
            let longest = overlay.go_on(chain, ends, |endpoint, at, end| {
                let held = self.position(endpoint).map(|position| &mut matches.blocks[position]);
                let grows = held.filter(|held| **held >= at && **held < end);
                grows.map(|held| *held = end).is_some()
            });
            known = known.max(longest);
        }
        (matches, known)
    }

    /// Puts `column` into the order of `members`.
    fn fill(&self, column: &Column, blocks: &mut [usize]) {
        let (slots, positions) = &self.slots;
        if Arc::ptr_eq(slots, column.slots()) {
            let known = positions.iter().zip(column.blocks()).filter_map(|(at, held)| Some(((*at)?, *held)));
            known.for_each(|(at, held)| blocks[at] = held as usize);
            return;
        }
        // An endpoint has come or gone since this view was made.
        for (at, held) in positions_in(column.slots(), &self.endpoints).zip(column.blocks()) {
            if let Some(at) = at {
                blocks[at] = *held as usize;
            }
        }
    }

    /// `lookup` of a chain of `total` blocks, in the order of `members`.
    pub fn matches(&self, lookup: &Lookup, total: usize) -> PrefixMatches {
        let mut blocks = vec![0; self.endpoints.len()];
        for held in &lookup.held {
            if let Some(at) = self.position(held.endpoint) {
                blocks[at] = held.blocks;
            }
        }
        PrefixMatches { blocks, total }
    }
}

/// Where the endpoints of `slots` stand among `members`.
fn positions(slots: &Slots, endpoints: &[Arc<EndpointState>]) -> Arc<[Option<usize>]> {
    positions_in(slots, endpoints).collect()
}

fn positions_in<'a>(
    slots: &'a Slots,
    endpoints: &'a [Arc<EndpointState>],
) -> impl Iterator<Item = Option<usize>> + 'a {
    let position =
        |endpoint: EndpointKey| endpoints.binary_search_by_key(&endpoint, |member| member.key).ok();
    slots.endpoints().iter().map(move |endpoint| endpoint.and_then(position))
}

/// The different numbers among `blocks`, which are few. Sorted in place: to sort them as the set is built would take memory that
/// depends on how many there are.
fn distinct(blocks: &[usize]) -> BTreeSet<usize> {
    let mut blocks = blocks.to_vec();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.into_iter().collect()
}

/// When each of `members` was last seen to begin with a prompt: now, if since `before` one was processed or the first one came.
fn turned_ms(before: &View, endpoints: &[Arc<EndpointState>], now_ms: u64, same: bool) -> Vec<u64> {
    let turned_ms = |(position, member): (usize, &Arc<EndpointState>)| {
        let known = if same { Some(position) } else { before.position(member.key) };
        let Some(at) = known else { return now_ms };
        let known = &before.endpoints[at];
        let is_turn = !Arc::ptr_eq(known, member) && {
            let (was, is) = (known.load().prefills, member.load().prefills);
            is < was || (was == 0 && is > 0)
        };
        if is_turn { now_ms } else { before.turned_ms.get(at).copied().unwrap_or(now_ms) }
    };
    endpoints.iter().enumerate().map(turned_ms).collect()
}

/// The adapters that any of `members` has had: those of `before` and what is new since. Told anew when an endpoint has come or gone.
fn adapters(before: &View, endpoints: &[Arc<EndpointState>], same: bool) -> Arc<BTreeSet<Arc<str>>> {
    let shelves = endpoints.iter().map(|member| member.adapters.as_ref());
    if !same {
        return Arc::new(shelves.flatten().flat_map(|residency| residency.names()).cloned().collect());
    }
    let known = before.endpoints.iter().map(|member| member.adapters.as_ref());
    let changed = shelves.zip(known).filter(|(now, then)| now.map(Arc::as_ptr) != then.map(Arc::as_ptr));
    let names = changed.filter_map(|(now, _)| now).flat_map(|residency| residency.names());
    let new: Vec<_> = names.filter(|name| !before.adapters.contains(*name)).cloned().collect();
    if new.is_empty() {
        return Arc::clone(&before.adapters);
    }
    let mut adapters = BTreeSet::clone(&before.adapters);
    adapters.extend(new);
    Arc::new(adapters)
}

/// Whether what the view says of the other replicas' work in flight is recent enough to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerLoad {
    /// It counts.
    Current,
    /// The view is older than a replica may be silent: they may be gone.
    Outdated,
}

/// What this process knows better than the pool does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalState {
    /// This process: what the view says of its work in flight is older than `own`.
    pub origin: Origin,
    /// Its work in flight, in the order of the view's members.
    pub own: Vec<Load>,
    /// For how long each endpoint has been busy with the prompt that it is at, in milliseconds, in the order of the view's members.
    pub prefilling_ms: Vec<u64>,
    /// What the others' count for.
    pub others: PeerLoad,
    /// Where this process lately sent requests for the LoRA adapter that this one asks for.
    pub adapter_sent: SmallVec<[EndpointKey; 4]>,
}

impl LocalState {
    /// All work in flight at the member at `position`, so far as replicas gave it.
    pub fn load_at(&self, position: usize, member: &EndpointState) -> Load {
        let own = self.own.get(position).copied().unwrap_or(Load::ZERO);
        match self.others {
            PeerLoad::Current => own + member.load_without(self.origin),
            PeerLoad::Outdated => own,
        }
    }
}

/// How many leading blocks of a request's prompt each endpoint holds, in the order of the view's members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixMatches {
    /// The number of blocks.
    pub blocks: Vec<usize>,
    /// How many blocks the whole prompt has.
    pub total: usize,
}
